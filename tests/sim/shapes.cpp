// See shapes.hpp.
#include "shapes.hpp"

#include "rng.hpp"

#include <algorithm>

namespace sim {
namespace {

constexpr std::size_t kShapes = 384;  // more would only cool the cache

bool bit(u8 mask, int i) { return (mask >> i & 1) != 0; }

int branches_of(Rng& rng) {
    constexpr std::array<unsigned, kMaxBranches> weights{25, 38, 22, 8, 4, 3};
    unsigned left = rng.below(100);
    for (int i = 0; i < kMaxBranches; ++i) {
        if (left < weights[static_cast<std::size_t>(i)]) return i + 1;
        left -= weights[static_cast<std::size_t>(i)];
    }
    return 1;
}

void add_orders(core::Request& r, Rng& rng) {
    const unsigned density = rng.below(70);
    const auto count = static_cast<std::uint32_t>(r.branches.size());
    // A concurrent saga may name later steps: half of them are numbered against the grain.
    const bool reversed = r.options.concurrent && rng.one_in(2);
    for (std::uint32_t i = 0; i < count; ++i)
        for (std::uint32_t j = 0; j < i; ++j)
            if (rng.percent(density)) {
                if (reversed)
                    r.branches[j].after.push_back(i);
                else
                    r.branches[i].after.push_back(j);
            }
}

core::TransType random_type(Rng& rng) {
    const unsigned n = rng.below(100);
    if (n < 52) return core::TransType::saga;
    if (n < 76) return core::TransType::msg;
    return n < 86 ? core::TransType::tcc : n < 96 ? core::TransType::xa : core::TransType::workflow;
}

Shape random_shape(Rng& rng, std::size_t number) {
    Shape s;
    core::Request& r = s.request;
    r.gid = "sim-" + std::to_string(number);
    r.type = random_type(rng);
    const bool saga = s.saga();
    r.options.concurrent = rng.percent(45);
    const int count = s.workflow() ? 0 : branches_of(rng);
    for (int i = 0; i < count; ++i) {
        core::Branch b;
        b.branch_id = "0" + std::to_string(i + 1);
        b.step = static_cast<std::uint32_t>(i);
        if (!rng.percent(6)) b.action = std::string(1, static_cast<char>('A' + i));
        if (!s.message() && !rng.percent(6))
            b.compensate = std::string(1, static_cast<char>('a' + i));
        r.branches.push_back(std::move(b));
        r.payloads.emplace_back("{}");
    }
    if (saga && (r.options.concurrent ? rng.percent(70) : rng.percent(10))) add_orders(r, rng);

    s.prepared = saga ? rng.percent(5) : !s.message() || rng.percent(60);
    const bool can_be_asked = s.message() || s.workflow();
    if (s.prepared && can_be_asked && rng.percent(85)) r.query_prepared = "query";
    core::Options& o = r.options;
    constexpr std::array<int, 4> timeouts{0, 2, 12, 35}, delays{0, 0, 1, 5};
    o.timeout_to_fail = core::Seconds{timeouts[rng.below(4)]};
    if (s.message()) o.delay = core::Seconds{delays[rng.below(4)]};
    if (saga && rng.percent(40)) o.retry_limit = 1 + rng.below(2);
    o.exact_progress = rng.percent(25);
    if (rng.percent(30)) o.retry_interval = core::Seconds{1};
    s.finish();
    return s;
}

}  // namespace

void Shape::finish() {
    const int n = count();
    calls = undoes = 0;
    upon.fill(0);
    money.fill(0);
    for (int i = 0; i < n; ++i) {
        const core::Branch& b = request.branches[static_cast<std::size_t>(i)];
        if (!b.action.empty()) calls = static_cast<u8>(calls | 1 << i);
        if (!b.compensate.empty()) undoes = static_cast<u8>(undoes | 1 << i);
        u8& mask = upon[static_cast<std::size_t>(i)];
        if (!request.options.concurrent) mask = static_cast<u8>((1 << i) - 1);
        for (const std::uint32_t p : b.after) mask = static_cast<u8>(mask | 1 << p);
    }
    for (int k = 0; k < n; ++k)
        for (int i = 0; i < n; ++i)
            if (bit(upon[static_cast<std::size_t>(i)], k))
                upon[static_cast<std::size_t>(i)] = static_cast<u8>(
                    upon[static_cast<std::size_t>(i)] | upon[static_cast<std::size_t>(k)]);
    // Only what can be undone may move money; a message's steps need no way back.
    int last = -1, sum = 0;
    for (int i = 0; i < n; ++i) {
        if (!bit(calls, i) || (!message() && !bit(undoes, i))) continue;
        money[static_cast<std::size_t>(i)] = -(1 << i);
        sum += 1 << i;
        last = i;
    }
    if (last >= 0) money[static_cast<std::size_t>(last)] += sum;

    with.clear();
    for (int i = 0; two_phase() && i <= n; ++i) {
        with.push_back(request);
        with.back().branches.resize(static_cast<std::size_t>(i));
    }
}

std::string Shape::tell() const {
    const core::Options& o = request.options;
    std::string text(to_string(request.type));
    text += o.concurrent ? ", concurrent:" : ", serial:";
    for (int i = 0; i < count(); ++i) {
        const core::Branch& b = request.branches[static_cast<std::size_t>(i)];
        text += std::string(" ") + static_cast<char>('A' + i);
        if (b.action.empty()) text += " (no action URL)";
        if (!message() && b.compensate.empty()) text += " (no compensate URL)";
        for (const std::uint32_t p : b.after)
            text += std::string(" (after ") + static_cast<char>('A' + p) + ")";
    }
    const auto option = [&text](const char* name, long long value) {
        if (value != 0) text += std::string(", ") + name + " " + std::to_string(value);
    };
    option("timeout_to_fail", o.timeout_to_fail.count());
    option("retry_limit", o.retry_limit);
    option("retry_interval", o.retry_interval.count());
    option("delay", o.delay.count());
    if (o.exact_progress) text += ", exact_progress";
    if (prepared) text += ", prepared first";
    if (prepared && (message() || workflow()))
        text += request.query_prepared.empty() ? ", without query" : ", with query";
    return text;
}

const std::vector<Shape>& shapes() {
    static const std::vector<Shape> all = [] {
        Rng rng(20261121);
        std::vector<Shape> made;
        for (std::size_t i = 0; i < kShapes; ++i) made.push_back(random_shape(rng, i));
        return made;
    }();
    return all;
}

bool simplify(Shape& s, int i) {
    core::Options& o = s.request.options;
    switch (i) {
        case 0:
            o.exact_progress = false;
            break;
        case 1:
            o.retry_limit = 0;
            break;
        case 2:
            o.retry_interval = core::Seconds{0};
            break;
        case 3:
            o.delay = core::Seconds{0};
            break;
        case 4:
            o.timeout_to_fail = core::Seconds{0};
            break;
        case 5:
            for (core::Branch& b : s.request.branches) b.after.clear();
            break;
        case 6:
            o.concurrent = false;
            for (core::Branch& b : s.request.branches) b.after.clear();
            break;
        case 7:
            for (core::Branch& b : s.request.branches) {
                b.action = "A";
                if (!s.message()) b.compensate = "a";
            }
            break;
        case 8:
            if (!s.saga() && !s.message()) break;
            s.prepared = false;
            s.request.query_prepared.clear();
            break;
        default:
            return false;
    }
    s.finish();
    return true;
}

void remove_branch(Shape& s, int branch) {
    const auto gone = static_cast<std::uint32_t>(branch);
    std::vector<core::Branch>& all = s.request.branches;
    all.erase(all.begin() + branch);
    for (core::Branch& b : all) {
        std::erase(b.after, gone);
        for (std::uint32_t& p : b.after)
            if (p > gone) --p;
    }
    s.finish();
}

}  // namespace sim
