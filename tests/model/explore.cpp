// Worlds are remembered by a 128-bit digest; with 10^8 worlds the chance of a clash is 10^-22.
#include "explore.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_set>

namespace model {
namespace {

struct Digest {
    std::uint64_t a = 0, b = 0;
    bool operator==(const Digest&) const = default;
};

std::uint64_t mix(std::uint64_t x, std::uint64_t y) {
    const auto product = static_cast<unsigned __int128>(x) * y;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

Digest digest(const World& w) {
    std::uint64_t words[sizeof(World) / 8];
    std::memcpy(words, &w, sizeof w);
    Digest d{0x9e3779b97f4a7c15ULL, 0xd1b54a32d192ed03ULL};
    for (const std::uint64_t word : words) {
        d.a = mix(d.a ^ word, 0xa0761d6478bd642fULL) + 0x8ebc6af09c88c6e3ULL;
        d.b = mix(d.b + word, 0xe7037ed1a0b428dbULL) ^ (d.b << 1);
    }
    if (d.a == 0 && d.b == 0) d.a = 1;
    return d;
}

// Open addressing; `schedules` 0 marks a world that is still being walked.
class Memory {
public:
    struct Slot {
        Digest key;
        double schedules = 0;
    };
    Memory() : slots_(1u << 12) {}

    // The slot's schedules, and whether it was there.
    std::pair<double, bool> visit(const Digest& d) {
        if (used_ * 10 >= slots_.size() * 7) grow();
        Slot& s = find(d);
        if (s.key == d) return {s.schedules, true};
        s.key = d;
        ++used_;
        return {0, false};
    }
    void finish(const Digest& d, double schedules) { find(d).schedules = schedules; }
    std::uint64_t size() const { return used_; }

private:
    Slot& find(const Digest& d) {
        for (std::size_t i = d.a;; ++i) {
            Slot& s = slots_[i & (slots_.size() - 1)];
            if (s.key == d || s.key == Digest{}) return s;
        }
    }
    void grow() {
        std::vector<Slot> old(slots_.size() * 2);
        old.swap(slots_);
        for (const Slot& s : old)
            if (!(s.key == Digest{})) find(s.key) = s;
    }
    std::vector<Slot> slots_;
    std::uint64_t used_ = 0;
};

bool finished(const World& w) { return core::is_final(static_cast<core::Status>(w.row_status)); }

bool stuck(const World& w, const std::vector<Step>& steps) {
    return !finished(w) &&
           std::ranges::none_of(steps, [](const Step& s) { return is_ordinary(s.kind); });
}

class DepthFirst {
public:
    explicit DepthFirst(Rules& rules) : rules_(rules) {}

    Proof run() {
        proof_.schedules = walk(rules_.start(), 0);
        proof_.worlds = memory_.size();
        return proof_;
    }

private:
    // Every walk that only makes ordinary steps ends in a final row, because the graph has no cycle
    // and no unfinished world is without such a step.
    double walk(const World& w, std::size_t depth) {
        const Digest key = digest(w);
        const auto [schedules, seen] = memory_.visit(key);
        if (seen) {
            if (schedules == 0) proof_.broken = "livelock: a schedule returns to where it was";
            return schedules;
        }
        if (steps_.size() <= depth) steps_.emplace_back();
        steps_[depth].clear();
        rules_.steps(w, steps_[depth]);
        if (stuck(w, steps_[depth])) proof_.broken = "stuck: unfinished, and nothing can happen";
        double total = steps_[depth].empty() ? 1 : 0;
        for (std::size_t i = 0; i < steps_[depth].size() && proof_.broken.empty(); ++i) {
            World next = w;
            const Step step = steps_[depth][i];
            proof_.broken = rules_.apply(next, step);
            ++proof_.steps;
            // An answer that nobody waits for must change nothing; all else must get somewhere.
            if (step.kind == Kind::stray_answer && std::memcmp(&next, &w, sizeof w) == 0) continue;
            if (proof_.broken.empty()) total += walk(next, depth + 1);
        }
        memory_.finish(key, total);
        return total;
    }

    Rules& rules_;
    Proof proof_;
    Memory memory_;
    std::vector<std::vector<Step>> steps_;
};

}  // namespace

Proof prove(Rules& rules) { return DepthFirst(rules).run(); }

Story shortest_story(Rules& rules, std::uint64_t limit) {
    struct Node {
        World world;
        std::uint32_t parent;
        Step step;
    };
    std::vector<Node> nodes{{rules.start(), 0, {}}};
    Memory memory;
    memory.visit(digest(nodes[0].world));
    std::vector<Step> steps;
    const auto story = [&](std::size_t at, const Step* last, std::string broken) {
        Story s{std::move(broken), {}, nodes.size()};
        if (last) s.steps.push_back(*last);
        for (; at != 0; at = nodes[at].parent) s.steps.push_back(nodes[at].step);
        std::ranges::reverse(s.steps);
        return s;
    };
    for (std::size_t at = 0; at < nodes.size() && nodes.size() < limit; ++at) {
        steps.clear();
        rules.steps(nodes[at].world, steps);
        if (stuck(nodes[at].world, steps)) return story(at, nullptr, "stuck");
        for (const Step& s : steps) {
            World next = nodes[at].world;
            std::string broken = rules.apply(next, s);
            if (!broken.empty()) return story(at, &s, std::move(broken));
            if (!memory.visit(digest(next)).second)
                nodes.push_back({next, static_cast<std::uint32_t>(at), s});
        }
    }
    return {{}, {}, nodes.size()};
}

std::string print(const Rules& rules, const Story& story) {
    std::string text = rules.shape().name + "\n";
    for (const Step& s : story.steps) text += "    " + rules.tell(s) + "\n";
    return text + "  => " + (story.broken.empty() ? "all promises kept" : story.broken) + "\n";
}

Story replay(Rules& rules, const std::vector<Step>& script, World* last) {
    World& w = *last = rules.start();
    Story story;
    std::vector<Step> possible;
    const auto complain = [&](const std::string& broken) {
        if (!broken.empty() && !story.broken.ends_with(broken))
            story.broken += (story.broken.empty() ? "" : "; ") + broken;
    };
    const auto make = [&](const Step& s) {
        story.steps.push_back(s);
        complain(rules.apply(w, s));
        possible.clear();
        rules.steps(w, possible);
    };
    rules.steps(w, possible);
    for (const Step& s : script) {
        if (std::ranges::find(possible, s) == possible.end())
            complain("not possible: " + rules.tell(s));
        make(s);
    }
    while (!finished(w) && !stuck(w, possible))
        make(*std::ranges::find_if(possible, [](const Step& s) { return is_ordinary(s.kind); }));
    if (!finished(w)) complain("stuck");
    return story;
}

}  // namespace model
