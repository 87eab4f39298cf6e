// decide(): hands the event to the type's rules, then derives from the round's account what must be
// written and whether calls wait for it (design 7.3). Knows no type's rules and performs nothing.
// Every crash is survived by the order that it prescribes: first the row, then what depends on it.
#include "core/decide.hpp"

#include "core/round.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace dtm::core {
namespace {

bool any_in_flight(const State& state) {
    return state.query.in_flight || std::ranges::any_of(state.branches, [](const BranchState& b) {
               return b.action.in_flight || b.compensate.in_flight;
           });
}

bool is_awaited(State& state, const Answer& answer) {
    if (answer.op != Op::query && answer.branch >= state.branches.size()) return false;
    return op_state(state, answer.branch, answer.op).in_flight;
}

void stamp_as_written(State& state) {
    state.durable_fresh = false;
    state.durable_may_have_run.resize(state.branches.size());
    for (std::size_t i = 0; i < state.branches.size(); ++i)
        state.durable_may_have_run[i] = state.branches[i].may_have_run;
}

// 1. A decision precedes its consequences (P5), a final status whoever waits for it.
// 2. The frontier precedes the call that moves it (P6).
// 3. Attempts and times precede nothing, but must not live in memory only while nothing is in
// flight:
//    then "no write" means that the row says it all, and the transaction may be forgotten.
Write needed_write(const Round& r) {
    if (r.decided || r.frontier) return Write::flush;
    if (r.retrying) return Write::lazy;
    if (!r.changed) return Write::none;
    return r.request.options.exact_progress || !any_in_flight(r.out.state) ? Write::lazy
                                                                           : Write::none;
}

// A row that goes on saying "now" would be found by every look for what is due.
Write overdue_write(const Decision& d) {
    const bool waits = d.calls.empty() && !any_in_flight(d.state);
    return waits ? Write::lazy : Write::none;
}

Decision evaluate(const Request& request, State&& state, const Event* event, Time now,
                  const Policy& policy) {
    // Without its branches everything would seem to be done.
    if (state.branches.size() != request.branches.size()) {
        throw std::logic_error("the state of transaction " + request.gid +
                               " is not that of its request");
    }
    const Answer* answer = event ? std::get_if<Answer>(event) : nullptr;
    const Loaded* loaded = event ? std::get_if<Loaded>(event) : nullptr;
    Round r{.request = request, .policy = policy, .now = now, .out = {}};
    r.out.state = std::move(state);
    if (event && std::holds_alternative<Hurry>(*event) &&
        anything_waits(request, r.out.state, now)) {
        retry_now(request, r.out.state, now);
        r.retrying = true;  // the row must not go on saying that it waits
    }
    switch (request.type) {
        case TransType::saga:
            run_saga(r, answer);
            break;
        case TransType::msg:
            run_msg(r, answer);
            break;
        case TransType::tcc:
        case TransType::xa:
            run_two_phase(r, answer);
            break;
        case TransType::workflow:
            run_workflow(r, answer);
            break;
    }
    r.out.write = needed_write(r);
    if (loaded && loaded->due && r.out.write == Write::none) r.out.write = overdue_write(r.out);
    if (r.out.write != Write::none) stamp_as_written(r.out.state);
    if (is_final(r.out.state.status)) r.out.wake.reset();
    return std::move(r.out);
}

// What evaluate() would wait for, without doing it: `at_once` when it would not wait.
std::optional<Time> earliest(const Request& request, const State& state, Time now, Time at_once,
                             const Policy& policy) {
    const Decision trial = evaluate(request, State(state), nullptr, now, policy);
    const bool acts = !trial.calls.empty() || trial.state.status != state.status;
    return acts ? at_once : trial.wake;
}

}  // namespace

Decision decide(const Request& request, State state, const Event& event, Time now,
                const Policy& policy) {
    if (std::holds_alternative<Loaded>(event)) state.outdated = false;
    const Answer* answer = std::get_if<Answer>(&event);
    const bool ignored = answer && !is_awaited(state, *answer);
    const bool open = !is_final(state.status) && !state.outdated;
    if (!ignored && open) return evaluate(request, std::move(state), &event, now, policy);

    Decision unchanged;
    if (open) unchanged.wake = earliest(request, state, now, now, policy);
    unchanged.state = std::move(state);
    return unchanged;
}

bool is_undone(const Request& request, const BranchState& branch) {
    return is_two_phase(request.type) || (request.type == TransType::saga && branch.may_have_run);
}

State initial_state(const Request& request, Status status, Time create_time) {
    State state;
    state.status = status;
    state.create_time = create_time;
    state.branches.resize(request.branches.size());
    return state;
}

State recovered_fresh_state(const Request& request, Status status, Time create_time) {
    State state = initial_state(request, status, create_time);
    // A tcc or xa that was given up before anything was written has confirmed nothing.
    if (is_two_phase(request.type) && status == Status::aborting) return state;
    for (BranchState& b : state.branches) b.may_have_run = true;
    return state;
}

std::optional<Time> next_due(const Request& request, const State& state, const Policy& policy) {
    if (is_final(state.status)) return std::nullopt;
    // "Now" without a clock: the one instant that is surely over.
    const Time at_once = state.create_time;
    if (any_in_flight(state)) return at_once;
    return earliest(request, state, at_once, at_once, policy);
}

bool force_stop(const Request& request, State& state) {
    const auto to = target(request.type, state.status, Trigger::force_stop);
    if (!to) return false;
    state.status = *to;
    stamp_as_written(state);
    return true;
}

bool skip(const Request& request, State& state, std::uint32_t branch, Time now,
          const std::string& reason) {
    if (branch >= state.branches.size()) return false;
    BranchState& b = state.branches[branch];
    OpState* op = nullptr;
    if (state.status == Status::submitted) op = &b.action;
    if (state.status == Status::aborting && is_undone(request, b)) op = &b.compensate;
    if (op == nullptr || op->status != BranchStatus::prepared) return false;
    // Orders hold for skipped steps, too: what stands behind one must not start before what stands
    // before it, nor the other way round when all is undone.
    const Op which = op == &b.action ? Op::action : Op::compensate;
    if (!released_by_orders(request, state, branch, which)) return false;
    op->status = BranchStatus::succeed;
    op->in_flight = false;
    op->finished = now;
    op->next.reset();
    op->errors = 0;
    op->last_answer = reason;
    op->kept_back.reset();
    // A call of the action may be under way all the same.
    b.may_have_run = true;
    stamp_as_written(state);
    return true;
}

std::string last_word(const OpState& op) {
    std::string text = op.last_answer;
    if (op.kept_back) text += (text.empty() ? "" : "; ") + ("not called: " + op.kept_back->reason);
    return text;
}

bool anything_waits(const Request& request, const State& state, Time now) {
    const auto waits = [now](const OpState& op) {
        return op.status == BranchStatus::prepared && op.next && *op.next > now;
    };
    if (state.status == Status::prepared) return waits(state.query);
    return std::ranges::any_of(state.branches, [&](const BranchState& b) {
        if (state.status == Status::submitted) return waits(b.action);
        return state.status == Status::aborting && is_undone(request, b) && waits(b.compensate);
    });
}

void retry_now(const Request& request, State& state, Time now) {
    const auto hurry = [now](OpState& op) {
        if (op.next && *op.next > now) op.next = now;
    };
    hurry(state.query);
    // Nothing says when it is asked for the first time but the interval.
    if (request.type == TransType::workflow && !state.query.next) state.query.next = now;
    for (BranchState& b : state.branches) {
        hurry(b.action);
        hurry(b.compensate);
    }
}

}  // namespace dtm::core
