// The one place that decides what happens to a global transaction. decide() is a pure function of
// the request, the state, the event and the time; it performs nothing and can be enumerated. It
// survives every crash by construction: whatever must not be lost is returned as a write that
// precedes a call.
#pragma once

#include "core/types.hpp"

#include <variant>

namespace dtm::core {

// The state was read from the store (or just made by a submit), with all branches that are
// registered. Nothing is in flight.
struct Loaded {
    // The row says that it is to be looked at now. If there is nothing to do, it must say when.
    bool due = false;
};

// A call came back. Ignored when that operation is not in flight (a late or foreign answer, P4).
struct Answer {
    std::uint32_t branch = 0;  // index into Request::branches; 0 for Op::query
    Op op = Op::action;
    Outcome outcome;
};

// A time the last decision asked for (Decision::wake) has come. Harmless when it has not.
struct Timer {};

// Operator verb about what this process drives: retry_now(), which leaves calls in flight alone.
struct Hurry {};

using Event = std::variant<Loaded, Answer, Timer, Hurry>;

// Call this branch operation now (or as soon as the write is durable, see Write).
struct Call {
    std::uint32_t branch = 0;
    Op op = Op::action;
    bool operator==(const Call&) const = default;
};

// What the row needs before or after the calls of the same decision (design 7.3).
enum class Write : std::uint8_t {
    none,   // the row may stay as it is
    lazy,   // write the state with the next settle; the calls need not wait
    flush,  // the state must be durable before any of the calls leaves; until it is, calls of
            // later decisions about the same transaction wait with them
};

// A branch keeps failing: reported once per branch operation, when its consecutive errors reach
// Policy::alert_retry_limit (dtm-compat.md 5.12 without D13's faults).
struct Alert {
    std::uint32_t branch = 0;
    Op op = Op::action;
    std::uint32_t retry_count = 0;
    std::string error;
};

struct Decision {
    State state;
    std::vector<Call> calls;  // in order; their OpStates are in_flight in `state`
    Write write = Write::none;
    std::optional<Time> wake;  // earliest time at which Timer can change something; none if final
    std::vector<Alert> alerts;
};

// Preconditions: state.branches.size() == request.branches.size(). Never throws but bad_alloc.
// A final state is returned unchanged, without calls.
Decision decide(const Request& request, State state, const Event& event, Time now,
                const Policy& policy);

// Whether undoing the transaction calls this branch. Of a saga what may have run (P6); of tcc and
// xa every one: its first phase is the client's own call, of which nobody here knows.
bool is_undone(const Request& request, const BranchState& branch);

// The branches that stand before this one, in the order of their indices: its action (confirm,
// commit) waits until those of them have succeeded, its compensation (cancel, rollback) until they
// are undone. Empty: it is its turn.
std::vector<std::uint32_t> waits_for(const Request& request, const State& state,
                                     std::uint32_t branch, Op op);

// The state a submit creates. `status` is submitted or prepared.
State initial_state(const Request& request, Status status, Time create_time);

// The state after reading a row that an earlier life of the coordinator may have worked on: a fresh
// row (no progress stored) means "every action may have run" (design 7.3, the frontier).
State recovered_fresh_state(const Request& request, Status status, Time create_time);

// When the row should be looked at by the sweep if nobody holds it in memory: at once (create_time,
// which is surely over) when something can be called or is in flight, else the earliest retry,
// delay or deadline; none when final or inert (a prepared saga, a workflow without a callback).
std::optional<Time> next_due(const Request& request, const State& state, const Policy& policy);

// Operator verb: any unfinished transaction becomes failed, nothing else is called
// (dtm-compat.md 1.5.7). Returns false, and changes nothing, where the table has no such edge. The
// caller writes the state: it is stamped like one returned with Write::flush.
bool force_stop(const Request& request, State& state);

// Operator verb, and resetNextCronTime: all waiting operations become due at `now`, attempts are
// kept; a workflow's client is asked although its first interval is not over. The caller writes the
// state if it changed, unless it goes into decide() at once.
void retry_now(const Request& request, State& state, Time now);

// Whether an operation whose turn it is waits for a later time, whatever others are doing.
bool anything_waits(const Request& request, const State& state, Time now);

// Operator verb: the open operation of a branch counts as succeeded, without a (further) call: the
// action (confirm, commit) while the transaction goes forward, the compensation (cancel, rollback)
// while it is undone. False, and nothing changed, when that branch has none or it is not its turn
// in a concurrent saga; where branches are called one after the other, one that is skipped ahead of
// its turn changes nothing for those before it. The caller writes the state, as for force_stop.
bool skip(const Request& request, State& state, std::uint32_t branch, Time now,
          const std::string& reason);
// How such a reason begins, by which a skipped operation is told from one that was called.
inline constexpr std::string_view skipped_by = "skipped by ";
inline bool is_skipped(const OpState& op) {
    return op.status == BranchStatus::succeed && op.last_answer.starts_with(skipped_by);
}

// What its last call was answered that was not a success, and why it was not called since; for
// people, empty when there is neither.
std::string last_word(const OpState&);

// Policy arithmetic, exposed for the views and the tests.
Seconds base_interval(const Request&, const Policy&);
// base * 2^errors, capped, plus a jitter of up to 10 % that depends only on (gid, branch, op,
// errors), so that a thousand transactions which failed together do not come back together.
Micros backoff(const Request&, std::uint32_t branch, Op, std::uint32_t errors, const Policy&);
// nullopt: cannot time out (any more): a saga without timeout_to_fail or not in `submitted`; a
// message, tcc or xa that is not `prepared`; a workflow.
std::optional<Time> deadline(const Request&, const State&, const Policy&);
// The largest current interval of the open operations: dtm's next_cron_interval.
Seconds current_interval(const Request&, const State&, const Policy&);

}  // namespace dtm::core
