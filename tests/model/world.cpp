// The steps of the model world and the oracle that watches them (promises P3 to P6 of the design).
#include "world.hpp"

#include <algorithm>
#include <cstring>

namespace model {

using core::BranchStatus;
using core::Op;
using core::Result;
using core::Status;
using core::TransType;
using core::Write;

namespace {

constexpr core::Time kCreated{core::Seconds{1000}};
constexpr core::Time kBefore{core::Seconds{1001}};     // before the deadline
constexpr core::Time kAfter{core::Seconds{2000}};      // after it
constexpr core::Time kWaiting{core::Seconds{900000}};  // "not yet"

core::Time now_of(const World& w) { return w.timed_out ? kAfter : kBefore; }

void put(core::OpState& to, u8 status, u8 waiting, u8 attempts, bool in_flight) {
    to.status = static_cast<BranchStatus>(status);
    to.in_flight = in_flight;
    to.attempts = attempts;
    to.errors = 0;
    to.next.reset();
    if (waiting) to.next = kWaiting;
}

void take(LiveOp& to, const core::OpState& from, core::Time now, bool counts_attempts) {
    to.status = raw(from.status);
    to.waiting = from.next && *from.next > now;
    to.attempts = counts_attempts ? static_cast<u8>(from.attempts) : 0;
}

RowOp projection(const LiveOp& op) { return {op.status, op.waiting, op.attempts}; }

}  // namespace

Rules::Rules(Shape shape, Mutant mutant)
    : shape_(std::move(shape)),
      mutant_(mutant),
      count_(static_cast<int>(shape_.request.branches.size())),
      counts_attempts_(shape_.request.options.retry_limit > 0) {
    policy_.alert_retry_limit = 0;
    for (std::size_t n = 0; two_phase() && n <= shape_.request.branches.size(); ++n) {
        with_.push_back(shape_.request);
        with_.back().branches.resize(n);
    }
    for (int i = 0; i < count_; ++i) {
        if (!shape_.request.options.concurrent)
            for (int j = 0; j < i; ++j) reach_[i][j] = true;
        for (auto p : shape_.request.branches[static_cast<std::size_t>(i)].after)
            reach_[i][p] = true;
    }
    for (int k = 0; k < count_; ++k)
        for (int i = 0; i < count_; ++i)
            for (int j = 0; j < count_; ++j)
                if (reach_[i][k] && reach_[k][j]) reach_[i][j] = true;
}

World Rules::start() const {
    World w;
    std::memset(&w, 0, sizeof w);
    w.row_status = raw(shape_.starts_prepared ? Status::prepared : Status::submitted);
    w.row_fresh = 1;
    w.virgin = 1;
    w.local = shape_.starts_prepared ? undecided : committed;
    return w;
}

bool Rules::two_phase() const {
    return shape_.request.type == TransType::tcc || shape_.request.type == TransType::xa;
}

core::Ruling Rules::rule(const World& w, core::Command command, Status end) const {
    const TransType type = shape_.request.type;
    return core::rule(command, shape_.request.gid, type, core::Found{type, status_of(w.row_status)},
                      end);
}

LiveOp& Rules::live(World& w, Step s) const {
    if (s.op == Op::query) return w.query;
    BranchWorld& b = w.branch[s.branch];
    return s.op == Op::action ? b.action : b.compensate;
}
const LiveOp& Rules::live(const World& w, Step s) const { return live(const_cast<World&>(w), s); }

bool Rules::builds_upon(int successor, int predecessor) const {
    return reach_[successor][predecessor];
}

// ---- the coordinator
// -----------------------------------------------------------------------------

void Rules::load_state(const World& w, core::State& s) const {
    s.status = status_of(w.status);
    s.create_time = kCreated;
    s.branches.resize(static_cast<std::size_t>(known(w)));
    s.outdated = w.outdated;
    s.durable_fresh = w.fresh;
    s.durable_may_have_run.resize(w.fresh ? 0 : s.branches.size());
    for (std::size_t i = 0; i < s.branches.size(); ++i) {
        const BranchWorld& b = w.branch[i];
        core::BranchState& to = s.branches[i];
        to.may_have_run = b.may_have_run;
        if (!w.fresh) s.durable_may_have_run[i] = b.claimed;
        put(to.action, b.action.status, b.action.waiting, b.action.attempts,
            b.action.phase != idle);
        put(to.compensate, b.compensate.status, b.compensate.waiting, b.compensate.attempts,
            b.compensate.phase != idle);
    }
    put(s.query, w.query.status, w.query.waiting, w.query.attempts, w.query.phase != idle);
}

std::string Rules::decide(World& w, const core::Event& event, const Step* due, const Step* back) {
    load_state(w, scratch_);
    if (due) {
        core::OpState& op = due->op == Op::query    ? scratch_.query
                            : due->op == Op::action ? scratch_.branches[due->branch].action
                                                    : scratch_.branches[due->branch].compensate;
        op.next = now_of(w);
    }
    const core::Request& request = two_phase() ? with_[w.known] : shape_.request;
    core::Decision d = core::decide(request, std::move(scratch_), event, now_of(w), policy_);
    if (back) live(w, *back).phase = idle;
    std::string broken = take_over(w, d);
    scratch_ = std::move(d.state);
    if (!broken.empty()) return broken;

    w.pending = std::max(w.pending, raw(d.write));
    for (const core::Call& c : d.calls)
        live(w, {Kind::load, static_cast<u8>(c.branch), c.op}).phase = held;
    // Calls of this decision and of earlier ones wait for the same flush.
    if (w.pending != raw(Write::flush) || mutant_.calls_before_flush) broken = release_held(w);
    return broken.empty() ? check_rest(w) : broken;
}

std::string Rules::take_over(World& w, core::Decision& d) {
    const core::State& s = d.state;
    const core::Time now = now_of(w);
    w.status = raw(s.status);
    w.fresh = s.durable_fresh;
    w.outdated = s.outdated;
    w.wake = d.wake.has_value();
    bool in_flight = s.query.in_flight;
    for (std::size_t i = 0; i < s.branches.size(); ++i) {
        const core::BranchState& b = s.branches[i];
        BranchWorld& to = w.branch[i];
        take(to.action, b.action, now, counts_attempts_);
        take(to.compensate, b.compensate, now, counts_attempts_);
        to.may_have_run = b.may_have_run;
        to.claimed = !s.durable_fresh && s.durable_may_have_run[i];
        in_flight |= b.action.in_flight || b.compensate.in_flight;
    }
    take(w.query, s.query, now, counts_attempts_);
    const bool final_status = core::is_final(s.status);
    if (final_status && (in_flight || !d.calls.empty() || d.wake))
        return "P6: final with something open";
    if (s.outdated && !d.calls.empty()) return "P6: called although branches may be missing";
    if (!final_status && !in_flight && !d.wake && !s.outdated)
        return "P1: nothing in flight and nothing to wait for";
    const bool deadline_counts =
        shape_.has_deadline && !w.timed_out && !s.query.in_flight &&
        s.status == (shape_.request.type == TransType::saga ? Status::submitted : Status::prepared);
    if (deadline_counts && !d.wake) return "P1: the deadline is not waited for";
    return {};
}

// Nothing in flight and no write asked for: it may be thrown out of memory, the row has all of it.
std::string Rules::check_rest(const World& w) const {
    if (w.pending || w.believed != w.row_status) return {};
    bool same = w.status == w.row_status && projection(w.query) == w.row_query;
    for (const BranchWorld& b : w.branch) {
        if (b.action.phase != idle || b.compensate.phase != idle) return {};
        same = same && projection(b.action) == b.row_action &&
               projection(b.compensate) == b.row_compensate;
    }
    if (w.query.phase != idle || same) return {};
    return "P1: at rest, but the row does not say what the memory says";
}

std::string Rules::release(World& w, int branch, Op op) {
    const BranchWorld& own = w.branch[static_cast<std::size_t>(branch)];
    live(w, {Kind::load, static_cast<u8>(branch), op}).phase = out;
    // An action that waited for its flush while the decision fell leaves all the same: somebody
    // must answer for it. It is harmless as long as its own compensation has not left (D21).
    if (op == Op::action && w.row_status != raw(Status::submitted) &&
        (two_phase() || w.row_status != raw(Status::aborting) || own.compensate.phase != idle ||
         own.compensate.status != raw(BranchStatus::prepared)))
        return "P5: an action leaves, but the row does not say submitted";
    if (op == Op::compensate) {
        if (w.row_status != raw(Status::aborting))
            return "P5: a compensation leaves, but the row does not say aborting";
        w.compensation_left = 1;
    }
    return {};
}

std::string Rules::release_held(World& w) {
    std::string broken;
    for (int i = 0; i < count_; ++i)
        for (Op op : {Op::action, Op::compensate})
            if (broken.empty() && live(w, {Kind::load, static_cast<u8>(i), op}).phase == held)
                broken = release(w, i, op);
    if (w.query.phase == held) w.query.phase = out;
    return broken;
}

std::string Rules::settle(World& w) {
    if (w.believed != w.row_status) {  // the guard of the update does not hold: somebody was faster
        forget(w);
        return {};
    }
    const bool had_flush = w.pending == raw(Write::flush);
    if (core::is_final(status_of(w.row_status))) return "P4: a final row is written";
    if (w.compensation_left && w.status == raw(Status::succeed))
        return "P4: succeed after a compensation left";
    if (workflow() && w.status != w.row_status) return "P4: who ends a workflow is its client";
    w.row_status = w.believed = w.status;
    w.row_fresh = 0;
    for (BranchWorld& b : w.branch) {
        b.row_action = projection(b.action);
        b.row_compensate = projection(b.compensate);
        b.row_may_have_run = b.may_have_run;
    }
    w.row_query = projection(w.query);
    w.pending = raw(Write::none);
    if (core::is_final(status_of(w.row_status))) {
        forget(w);
        return {};
    }
    if (w.outdated && mutant_.branches_not_reread) return decide(w, core::Loaded{});
    if (w.outdated) {  // the driver reads it again, with all that is registered
        forget(w);
        return {};
    }
    return had_flush ? release_held(w) : std::string();
}

std::string Rules::load(World& w) {
    w.alive = 1;
    w.known = w.registered;
    w.status = w.believed = w.row_status;
    w.fresh = w.row_fresh;
    const auto revive = [](LiveOp& to, const RowOp& from) {
        to = {from.status, from.waiting, from.attempts, idle};
    };
    core::State fresh;
    if (w.row_fresh)
        fresh = (w.virgin ? core::initial_state : core::recovered_fresh_state)(
            two_phase() ? with_[w.known] : shape_.request, status_of(w.row_status), kCreated);
    for (int i = 0; i < known(w); ++i) {
        BranchWorld& b = w.branch[static_cast<std::size_t>(i)];
        revive(b.action, b.row_action);
        revive(b.compensate, b.row_compensate);
        b.may_have_run = w.row_fresh ? fresh.branches[static_cast<std::size_t>(i)].may_have_run
                                     : b.row_may_have_run;
        if (mutant_.row_without_frontier)
            b.may_have_run = b.row_action.status != raw(BranchStatus::prepared);
        b.claimed = !w.row_fresh && b.may_have_run;
    }
    revive(w.query, w.row_query);
    w.virgin = 0;
    return decide(w, core::Loaded{});
}

// The memory is gone; calls that left may still arrive, once, later or never.
void Rules::forget(World& w) const {
    const auto drop = [](LiveOp& op, u8& stray) {
        if (op.phase == out) stray = 1;
        op = {};
    };
    for (BranchWorld& b : w.branch) {
        drop(b.action, b.stray_action);
        drop(b.compensate, b.stray_compensate);
        b.may_have_run = b.claimed = 0;
    }
    drop(w.query, w.stray_query);
    w.alive = w.status = w.fresh = w.wake = w.pending = w.believed = w.known = w.outdated = 0;
}

// ---- answers
// -------------------------------------------------------------------------------------

std::string Rules::answer(World& w, Step s, Result result) {
    const core::Answer answer{s.branch, s.op, {result, {}}};
    return decide(w, answer, nullptr, &s);
}

// A call that was given up arrives and its answer comes back as well. Nobody waits for it, or a
// newer call of the same operation does and is mistaken for it.
std::string Rules::stray_answer(World& w, Step s) {
    Phase phase = done_ok;
    std::string broken = arrive(w, s.branch, s.op, &phase);
    if (!broken.empty()) return broken;
    const World before = w;
    const bool awaited = live(w, s).phase != idle;
    broken = answer(w, s, phase == done_ok ? Result::success : Result::failure);
    if (!broken.empty() || awaited) return broken;
    return std::memcmp(&before, &w, sizeof w) == 0 ? "" : "P4: a late answer changes something";
}

// ---- one step
// ------------------------------------------------------------------------------------

std::string Rules::apply(World& w, Step s) {
    const auto trouble = [&] {
        ++w.trouble;
        ++(s.op == Op::query    ? w.trouble_query
           : s.op == Op::action ? w.branch[s.branch].trouble_action
                                : w.branch[s.branch].trouble_compensate);
    };
    const auto stray = [&]() -> u8& {
        return s.op == Op::query    ? w.stray_query
               : s.op == Op::action ? w.branch[s.branch].stray_action
                                    : w.branch[s.branch].stray_compensate;
    };
    std::string broken;
    switch (s.kind) {
        case Kind::load:
            broken = load(w);
            break;
        case Kind::settle:
            broken = settle(w);
            break;
        case Kind::arrive: {
            Phase phase = done_ok;
            broken = arrive(w, s.branch, s.op, &phase);
            live(w, s).phase = phase;
            break;
        }
        case Kind::refuse:
            live(w, s).phase = done_failed;
            break;
        case Kind::answer:
            broken = answer(w, s, live(w, s).phase == done_ok ? Result::success : Result::failure);
            break;
        case Kind::late:
            stray() = 1;
            [[fallthrough]];
        case Kind::error:
        case Kind::lost:
            trouble();
            broken = answer(w, s, Result::error);
            break;
        case Kind::ongoing:
            trouble();
            broken = answer(w, s, Result::ongoing);
            break;
        case Kind::failure_as_error:
            trouble();
            broken = answer(w, s, Result::failure);
            break;
        case Kind::stray:
            broken = arrive(w, s.branch, s.op, nullptr);
            break;
        case Kind::stray_answer:
            broken = stray_answer(w, s);
            break;
        case Kind::retry:
            broken = decide(w, core::Timer{}, &s);
            break;
        case Kind::deadline:
            w.timed_out = 1;
            if (w.alive && w.wake) broken = decide(w, core::Timer{});
            break;
        case Kind::crash:
            ++w.crashes;
            forget(w);
            break;
        case Kind::hint:
            forget(w);
            break;
        case Kind::client_commit:
            w.local = committed;
            break;
        case Kind::client_submit:
            w.row_status =
                raw(rule(w, workflow() ? core::Command::finish : core::Command::submit).to);
            w.client_gone = 1;
            break;
        case Kind::client_abort:
            w.row_status = raw(
                rule(w, workflow() ? core::Command::finish : core::Command::abort, Status::failed)
                    .to);
            if (!two_phase()) w.local = never;
            w.client_gone = 1;
            break;
        case Kind::client_register:
            ++w.registered;
            break;
        case Kind::client_try:
            w.branch[s.branch].effect = active;
            break;
    }
    return broken.empty() ? check(w) : broken;
}

}  // namespace model
