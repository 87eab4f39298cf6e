// The shortest story of a failure: delta debugging over the steps and the requests, then words.
// What is left is replayed from the start each time, so it can only be true.
#include "walk.hpp"

#include <algorithm>
#include <array>
#include <list>

namespace sim {

const char* words(Kind kind) {
    static constexpr std::array<const char*, kKinds> kText{
        "coordinator starts",
        "coordinator reads the row",
        "timer is over",
        "coordinator's writes are committed",
        "reaches its participant",
        "comes back",
        "client begins",
        "client's transaction commits",
        "client's local transaction commits",
        "client registers a branch",
        "client calls the try of its branch",
        "client submits",
        "operator: dtm_resume",
        "time goes by",
        "COORDINATOR CRASHES",
        "COORDINATOR CRASHES before its writes are committed",
        "COORDINATOR CRASHES after its writes are committed, before the calls leave",
        "coordinator's writes are committed, but for rows that somebody holds",
        "coordinator cannot write its state and puts it aside",
        "coordinator can neither write nor mark its row and lets it rest",
        "the hint to look at it is lost",
        "is refused: FAILURE",
        "is answered ONGOING",
        "fails without effect",
        "is deferred: it does not leave the machine",
        "times out, may arrive later",
        "is lost",
        "is duplicated by the network",
        "arrives late, and so does its answer",
        "client's transaction is rolled back",
        "client dies",
        "client aborts",
        "client submits again",
        "operator: dtm_retry_now",
        "operator: dtm_force_stop",
        "operator: dtm_skip",
        "operator: dtm_pause",
        "the try arrives after its client is gone"};
    return kText[static_cast<std::size_t>(kind)];
}

namespace {

std::string in_words(const World& w, const Step& s) {
    const bool call = s.kind == Kind::arrive || s.kind == Kind::answer ||
                      (s.kind >= Kind::refuse && s.kind <= Kind::late_answer);
    const bool everybody = s.kind == Kind::start || s.kind == Kind::tick ||
                           s.kind == Kind::settle || s.kind == Kind::crash ||
                           s.kind == Kind::settle_lost || s.kind == Kind::settle_then_crash ||
                           s.kind == Kind::settle_locked;
    std::string text = everybody ? "" : w.title(s.tx);
    const char letter = static_cast<char>('A' + s.branch);
    if (s.kind == Kind::answer || s.kind == Kind::lost_answer) text += "the answer of ";
    if (call && s.op == Op::query) text += "query ";
    if (call && s.op != Op::query) text += std::string(to_string(s.op)) + " " + letter + " ";
    text += words(s.kind);
    if (s.kind == Kind::skip || s.kind == Kind::late_try) text += std::string(" ") + letter;
    if (s.kind == Kind::answer) {
        const int found = w.find_call(s);
        if (found >= 0) text += ": " + std::string(to_string(w.call(found).result));
    }
    if (s.kind == Kind::tick) {
        char number[32];
        std::snprintf(number, sizeof number, ": %.6f s", s.amount / 1e6);
        text += number;
    }
    return text;
}

constexpr std::size_t kLines = 50;  // a livelock says nothing new after them
constexpr int kTries = 20'000;      // a tenth of a second; a livelock's take longer

class Shrinker {
public:
    Shrinker(Mutant mutant, const Script& script, const char* promise)
        : walk_(mutant), promise_(promise), best_(script) {
        keep_shapes(best_.plan);
        try_script(best_);
    }

    const Script& run() {
        for (std::size_t before = 0; before != size() + best_.steps.size() + simplified_;) {
            before = size() + best_.steps.size() + simplified_;
            cut_steps();
            drop_transactions();
            simplify_requests();
        }
        return best_;
    }

private:
    // Pointers into the plan must outlive it.
    void keep_shapes(Plan& plan) {
        for (int i = 0; i < plan.count; ++i) {
            kept_.push_back(*plan.shape[static_cast<std::size_t>(i)]);
            plan.shape[static_cast<std::size_t>(i)] = &kept_.back();
        }
    }
    std::size_t size() const { return best_.steps.size(); }

    // Whether it fails in the same way; then its steps up to the failure are the new best.
    bool try_script(const Script& script) {
        if (++tries_ > kTries) return false;
        const Broken& broken = walk_.replay(script);
        if (broken.promise != promise_) return false;
        if (walk_.script().steps.size() > std::max(size(), script.steps.size())) return false;
        best_ = walk_.script();
        return true;
    }

    void cut_steps() {
        for (std::size_t chunk = std::max<std::size_t>(size() / 2, 1); chunk > 0; chunk /= 2)
            for (std::size_t at = 0; at < size();) {
                Script shorter = best_;
                const auto from = shorter.steps.begin() + static_cast<std::ptrdiff_t>(at);
                const std::size_t n = std::min(chunk, size() - at);
                shorter.steps.erase(from, from + static_cast<std::ptrdiff_t>(n));
                const std::size_t before = size();
                if (!try_script(shorter) || size() >= before) at += chunk;
            }
    }

    void drop_transactions() {
        for (int tx = 0; best_.plan.count > 1 && tx < best_.plan.count;) {
            Script less;
            less.plan.count = best_.plan.count - 1;
            for (int i = 0, j = 0; i < best_.plan.count; ++i) {
                if (i == tx) continue;
                const auto to = static_cast<std::size_t>(j++), from = static_cast<std::size_t>(i);
                less.plan.shape[to] = best_.plan.shape[from];
                less.plan.strict[to] = best_.plan.strict[from];
            }
            for (Step s : best_.steps) {
                if (s.tx == tx && s.tx != 0) continue;
                if (s.tx > tx) --s.tx;
                less.steps.push_back(s);
            }
            if (!try_script(less)) ++tx;
        }
    }

    bool try_shape(int tx, const Shape& shape, int gone) {
        Script other = best_;
        kept_.push_back(shape);
        other.plan.shape[static_cast<std::size_t>(tx)] = &kept_.back();
        if (gone >= 0) {
            std::erase_if(other.steps, [&](const Step& s) {
                return s.tx == tx && s.branch == gone && s.op != Op::query &&
                       s.kind >= Kind::refuse;
            });
            for (Step& s : other.steps)
                if (s.tx == tx && s.branch > gone) --s.branch;
        }
        if (try_script(other)) {
            ++simplified_;
            return true;
        }
        kept_.pop_back();
        return false;
    }

    void simplify_requests() {
        for (int tx = 0; tx < best_.plan.count; ++tx) {
            const auto n = static_cast<std::size_t>(tx);
            for (int b = best_.plan.shape[n]->count() - 1; b >= 0; --b) {
                if (best_.plan.shape[n]->count() == 1) break;
                Shape shape = *best_.plan.shape[n];
                remove_branch(shape, b);
                try_shape(tx, shape, b);
            }
            Shape shape = *best_.plan.shape[n];
            for (int i = 0; simplify(shape, i); ++i) {
                if (shape.tell() != best_.plan.shape[n]->tell()) try_shape(tx, shape, -1);
                shape = *best_.plan.shape[n];
            }
        }
    }

    Walk walk_;
    const char* promise_;
    Script best_;
    std::list<Shape> kept_;
    int tries_ = 0;
    std::size_t simplified_ = 0;
};

std::string tell(Mutant mutant, const Script& script, std::size_t& steps) {
    World w(mutant);
    w.reset(script.plan);
    std::string text;
    for (int i = 0; i < script.plan.count; ++i)
        text += "    T" + std::to_string(i + 1) + ": " +
                script.plan.shape[static_cast<std::size_t>(i)]->tell() + "\n";
    steps = 0;
    for (const Step& s : script.steps) {
        const std::string line = in_words(w, s);
        std::string led_to;
        w.story = &led_to;
        w.apply(s);
        w.story = nullptr;
        char number[24];
        std::snprintf(number, sizeof number, "    %3zu. ", ++steps);
        if (steps == kLines) text += "         …\n";
        if (steps >= kLines) continue;
        text += number + line + (led_to.empty() ? "" : " -> " + led_to) + "\n";
    }
    if (!w.broken()) {
        w.check_end();
        text += "         nothing else happens\n";
    }
    const Broken& b = w.broken();
    text += "    => " + (b ? w.title(b.tx) + b.promise : std::string("all promises kept"));
    if (b && b.branch >= 0)
        text += std::string(" (branch ") + static_cast<char>('A' + b.branch) + ")";
    return text + "\n";
}

}  // namespace

Story shortest_story(Mutant mutant, std::uint64_t seed) {
    Walk walk(mutant);
    Story story;
    story.seed = seed;
    const Broken broken = walk.run(seed);
    if (!broken) return story;
    story.broken = broken.promise;
    Shrinker shrinker(mutant, walk.script(), broken.promise);
    story.text = tell(mutant, shrinker.run(), story.steps);
    return story;
}

}  // namespace sim
