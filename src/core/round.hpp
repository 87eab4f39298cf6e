// Private to core: what one evaluation of one transaction carries along, and the steps that the
// types share. It keeps the account from which decide() derives the write. Knows no type's
// rules; forgetting to write cannot happen in a type's file, because only the account decides about
// it.
#pragma once

#include "core/decide.hpp"
#include "core/machine.hpp"

#include <algorithm>

namespace dtm::core {

// A century. Above it create_time + option leaves the range of a microsecond timestamp.
constexpr Seconds longest{100LL * 365 * 86400};
constexpr Seconds bounded(Seconds s) { return std::clamp(s, Seconds{0}, longest); }

struct Round {
    const Request& request;
    const Policy& policy;
    Time now;
    Decision out;

    bool changed = false;   // the state says something that the row does not
    bool decided = false;   // the status moved
    bool retrying = false;  // attempts or times of what is not over are worth a write
    bool frontier = false;  // a call goes beyond what the row admits as started

    State& state() { return out.state; }

    // Moves along the table; false, and nothing done, where it has no such edge.
    bool move(Trigger);

    // The operation of the answer is no longer in flight, whatever the answer says.
    OpState& accept(const Answer&);
    void succeed(OpState&);
    void fail(OpState&, const Outcome&);
    // Not final: the operation waits (dtm-compat.md 5.10.2) and may raise an alert.
    void postpone(OpState&, const Answer&);
    // The answer of an operation that must succeed in the end: FAILURE is an error like any other
    // (dtm-compat.md 4.6.2).
    void insist(const Answer&);

    // Brings a prepared operation as far as it goes now: it waits for its time, is called, or,
    // having no URL, succeeds. True when it succeeded.
    bool attempt(std::uint32_t branch, Op op);

    // Attempts every action whose predecessors have succeeded. True when no action is left.
    bool attempt_actions();

    bool all_actions_succeeded() const;
    // With the seconds that were in effect, also where the request names none (D8). Asked before
    // the status moves.
    std::string timeout_reason() const;
    void wake_at(Time);
};

OpState& op_state(State&, std::uint32_t branch, Op);

// Whether branches that are called one after the other begin with the last one: a branch of tcc may
// have been called by one that was registered before it.
bool from_the_last(TransType, Op);
// By the orders of a saga alone; where branches are called one after the other, their places count
// as well.
bool released_by_orders(const Request&, const State&, std::uint32_t branch, Op);

// The types' rules, a file each. `answer` is null when nothing came back.
void run_saga(Round&, const Answer* answer);
void run_msg(Round&, const Answer* answer);
void run_two_phase(Round&, const Answer* answer);
void run_workflow(Round&, const Answer* answer);

}  // namespace dtm::core
