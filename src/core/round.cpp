// The steps that the types share: take an answer, wait, call, start what may start. Knows neither
// rollback nor query; those are the types' own. Whatever happens here is entered in
// the round's account, so that no progress is lost that a crash could make us need.
#include "core/round.hpp"

#include <algorithm>

namespace dtm::core {

OpState& op_state(State& state, std::uint32_t branch, Op op) {
    switch (op) {
        case Op::action:
            return state.branches[branch].action;
        case Op::compensate:
            return state.branches[branch].compensate;
        case Op::query:
            break;
    }
    return state.query;
}

namespace {

const std::string& url_of(const Request& request, std::uint32_t branch, Op op) {
    switch (op) {
        case Op::action:
            return request.branches[branch].action;
        case Op::compensate:
            return request.branches[branch].compensate;
        case Op::query:
            break;
    }
    return request.query_prepared;
}

// 1. A fresh row admits everything. 2. A written row admits what it names. 3. exact_progress never
// relies on 1. 4. A message cannot roll back, so nobody will ever ask what of it may have run.
// 5. Of tcc and xa the decision is in the row before the first call, and it is about all branches.
bool row_admits(const Request& request, const State& state, std::uint32_t branch) {
    if (is_two_phase(request.type)) return true;
    if (state.durable_fresh) return !request.options.exact_progress;
    if (branch < state.durable_may_have_run.size() && state.durable_may_have_run[branch])
        return true;
    return request.type == TransType::msg && !request.options.exact_progress;
}

}  // namespace

bool Round::move(Trigger trigger) {
    const auto to = target(request.type, state().status, trigger);
    if (!to) return false;
    state().status = *to;
    decided = true;
    return true;
}

OpState& Round::accept(const Answer& answer) {
    OpState& life = op_state(state(), answer.branch, answer.op);
    life.in_flight = false;
    if (answer.outcome.result != Result::deferred) life.kept_back.reset();
    changed = true;
    return life;
}

void Round::succeed(OpState& life) {
    life.status = BranchStatus::succeed;
    life.finished = now;
    life.errors = 0;
    life.next.reset();
    changed = true;
}

void Round::fail(OpState& life, const Outcome& outcome) {
    life.status = BranchStatus::failed;
    life.finished = now;
    life.last_answer = outcome.reason;
    life.next.reset();
    changed = true;
}

void Round::postpone(OpState& life, const Answer& answer) {
    changed = retrying = true;
    if (answer.outcome.result == Result::deferred) {
        // Nobody was called: it is neither an attempt nor an error, and no alert.
        const Time since = life.kept_back ? life.kept_back->since : now;
        life.kept_back = KeptBack{answer.outcome.hold, answer.outcome.reason, since};
        if (life.attempts > 0) --life.attempts;
        life.next = std::max(now, answer.outcome.not_before.value_or(now));
        return;
    }
    life.last_answer = answer.outcome.reason;
    if (answer.outcome.result == Result::ongoing) {
        // Work in progress is not a fault: the interval stays what it is. Only a query starts anew.
        if (answer.op == Op::query) life.errors = 0;
        const Micros wait = backoff(request, answer.branch, answer.op, life.errors, policy);
        life.next = now + (life.errors == 0 ? Micros{base_interval(request, policy)} : wait);
        return;
    }
    ++life.errors;
    life.next = now + backoff(request, answer.branch, answer.op, life.errors, policy);
    if (life.errors == policy.alert_retry_limit)
        out.alerts.push_back({answer.branch, answer.op, life.errors, answer.outcome.reason});
}

void Round::insist(const Answer& answer) {
    OpState& life = accept(answer);
    if (answer.outcome.result == Result::success)
        succeed(life);
    else
        postpone(life, answer);
}

bool Round::attempt(std::uint32_t branch, Op op) {
    OpState& life = op_state(state(), branch, op);
    if (life.in_flight) return false;
    if (life.next && *life.next > now) {
        wake_at(*life.next);
        return false;
    }
    const bool silent = url_of(request, branch, op).empty();
    if (op == Op::action) {
        if (!silent && !row_admits(request, state(), branch)) frontier = true;
        state().branches[branch].may_have_run = true;
    }
    if (silent) {
        succeed(life);
        return true;
    }
    life.in_flight = true;
    life.next.reset();
    ++life.attempts;
    out.calls.push_back({branch, op});
    return false;
}

bool Round::attempt_actions() {
    const auto count = static_cast<std::uint32_t>(state().branches.size());
    const bool serial = !request.options.concurrent;
    bool all = false;
    for (bool again = true; again;) {
        again = false;
        all = true;
        for (std::uint32_t i = 0; i < count; ++i) {
            if (state().branches[i].action.status == BranchStatus::succeed) continue;
            // An action without a URL may release one that stands before it.
            if (released_by_orders(request, state(), i, Op::action) && attempt(i, Op::action)) {
                again = true;
                continue;
            }
            all = false;
            if (serial) break;
        }
    }
    return all;
}

bool Round::all_actions_succeeded() const {
    return std::ranges::all_of(out.state.branches, [](const BranchState& b) {
        return b.action.status == BranchStatus::succeed;
    });
}

std::string Round::timeout_reason() const {
    const auto end = deadline(request, out.state, policy);
    const auto allowed = std::chrono::duration_cast<Seconds>(end.value_or(out.state.create_time) -
                                                             out.state.create_time);
    return "Timeout after " + std::to_string(allowed.count()) + " seconds";
}

void Round::wake_at(Time t) {
    if (!out.wake || t < *out.wake) out.wake = t;
}

}  // namespace dtm::core
