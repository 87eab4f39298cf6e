// How a schedule is chosen. Each has its own mix of trouble (most kinds left out, so that the rest
// gets far), its own amount of it, and then a phase without any, in which everything must end (P1).
#include "walk.hpp"

namespace sim {
namespace {

constexpr int kFairSteps = 1000;  // far more than a schedule without trouble can need

constexpr std::array kTrouble{Kind::crash,         Kind::settle_lost, Kind::settle_then_crash,
                              Kind::settle_locked, Kind::put_aside,   Kind::rest,
                              Kind::hint_lost,     Kind::refuse,      Kind::ongoing,
                              Kind::error,         Kind::deferred,    Kind::timeout,
                              Kind::lost_answer,   Kind::duplicate,   Kind::late_answer,
                              Kind::roll_back,     Kind::client_dies, Kind::client_aborts,
                              Kind::resubmit,      Kind::retry_now,   Kind::force_stop,
                              Kind::skip,          Kind::pause,       Kind::late_try};

bool is_about_a_call(Kind k) { return k >= Kind::refuse && k <= Kind::late_answer; }

std::uint32_t random_wait(Rng& rng) {
    switch (rng.below(6)) {
        case 0:
            return 1 + rng.below(1000);
        case 1:
            return 1 + rng.below(1'000'000);
        case 2:
            return 1'000'000 * (1 + rng.below(3));
        case 3:
            return 10'000'000 + rng.below(1'500'000);
        case 4:
            return 35'000'000;
        default:
            return 60'000'000 * (1 + rng.below(60));
    }
}

}  // namespace

void Walk::plan(Rng& rng) {
    Plan& p = script_.plan;
    const unsigned r = rng.below(8);
    p.count = r < 3 ? 1 : r < 6 ? 2 : 3;
    const auto all = static_cast<unsigned>(shapes().size());
    for (int i = 0; i < p.count; ++i) {
        p.shape[static_cast<std::size_t>(i)] = &shapes()[rng.below(all)];
        p.strict[static_cast<std::size_t>(i)] = rng.one_in(4);
    }
}

bool Walk::make(const Step& s) {
    if (!world_.apply(s)) return false;
    script_.steps.push_back(s);
    ++made_[static_cast<std::size_t>(s.kind)];
    ++steps;
    return true;
}

bool Walk::try_trouble(Rng& rng) {
    Step s;
    s.kind = kinds_[rng.below(static_cast<unsigned>(kinds_.size()))];
    s.tx = static_cast<u8>(rng.below(static_cast<unsigned>(world_.count())));
    s.branch = static_cast<u8>(rng.below(static_cast<unsigned>(world_.trans(s.tx).shape->count())));
    s.amount = 1 + rng.below(7);
    if (is_about_a_call(s.kind)) {
        const auto n = static_cast<unsigned>(world_.calls());
        const unsigned first = n > 0 ? rng.below(n) : 0;
        unsigned i = 0;
        while (i < n && !world_.fits(s, world_.call(static_cast<int>((first + i) % n)))) ++i;
        if (i == n) return false;
        const Call& c = world_.call(static_cast<int>((first + i) % n));
        s = {s.kind, c.tx, c.branch, c.op, c.ordinal, 0};
    }
    return make(s);
}

void Walk::random_phase(Rng& rng) {
    kinds_.clear();
    for (const Kind k : kTrouble)
        if (rng.one_in(3)) kinds_.push_back(k);
    constexpr std::array<unsigned, 6> rates{0, 5, 10, 20, 35, 50};
    constexpr std::array<unsigned, 4> lengths{12, 24, 40, 80};
    const unsigned rate = kinds_.empty() ? 0 : rates[rng.below(6)];
    if (rate == 0) return;  // the fair phase is a schedule, too
    const unsigned length = lengths[rng.below(4)];
    const unsigned ticks = 4 + rng.below(16);
    for (unsigned i = 0; i < length && !world_.broken(); ++i) {
        if (rng.percent(rate) && (try_trouble(rng) || try_trouble(rng))) continue;
        Step s;
        const int n = world_.ordinary(possible_);
        if (n > 0) s = possible_[rng.below(static_cast<unsigned>(n))];
        if (n == 0 || rng.one_in(ticks)) {
            s = {};
            s.amount = random_wait(rng);
        }
        if (n == 0 && world_.at_rest()) return;
        make(s);
    }
}

void Walk::fair_phase(Rng* rng) {
    for (int i = 0; i < kFairSteps && !world_.broken(); ++i) {
        if (world_.at_rest() && world_.calls() == 0) break;
        const int n = world_.ordinary(possible_);
        if (n == 0) break;
        if (!make(possible_[rng ? rng->below(static_cast<unsigned>(n)) : 0]))
            world_.fail("the simulation contradicts itself: an ordinary step is impossible", 0);
    }
    if (!world_.broken()) world_.check_end();
}

void Walk::count_ends() {
    for (int i = 0; i < world_.count(); ++i)
        if (world_.trans(i).row.visible)
            ++ended_[static_cast<std::size_t>(world_.trans(i).row.status)];
}

const Broken& Walk::run(std::uint64_t seed) {
    Rng rng(seed);
    script_.steps.clear();
    plan(rng);
    world_.reset(script_.plan);
    random_phase(rng);
    fair_phase(&rng);
    count_ends();
    return world_.broken();
}

const Broken& Walk::replay(const Script& script) {
    script_.plan = script.plan;
    script_.steps.clear();
    world_.reset(script.plan);
    for (const Step& s : script.steps) {
        if (world_.broken()) break;
        make(s);
    }
    fair_phase(nullptr);
    return world_.broken();
}

}  // namespace sim
