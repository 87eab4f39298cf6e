// What must be true, whatever happened (promises P1 to P6 of the design). Each check stands where
// it can become false first; what only the end can tell is in check_end().
#include "core/machine.hpp"
#include "world.hpp"

#include <algorithm>

namespace sim {
namespace {

using core::BranchState;
using core::BranchStatus;

bool bit(u8 mask, int i) { return (mask >> i & 1) != 0; }

// Bits of the statuses that the table reaches from this one, itself included. One settle may take
// several edges: a saga without URLs is rolled back in one decision.
constexpr int kStatuses = 5, kTypes = 5;
struct Reachable {
    std::array<std::array<u8, kStatuses>, kTypes> from{};
    Reachable() {
        for (std::size_t type = 0; type < kTypes; ++type) {
            for (std::size_t s = 0; s < kStatuses; ++s) from[type][s] = static_cast<u8>(1 << s);
            for (int again = 0; again < kStatuses; ++again)
                for (const core::Edge& e : core::transitions())
                    if (static_cast<std::size_t>(e.type) == type) {
                        u8& mask = from[type][static_cast<std::size_t>(e.from)];
                        mask = static_cast<u8>(mask | from[type][static_cast<std::size_t>(e.to)]);
                    }
        }
    }
};

bool reachable(TransType type, Status from, Status to) {
    static const Reachable table;
    return bit(table.from[static_cast<std::size_t>(type)][static_cast<std::size_t>(from)],
               static_cast<int>(to));
}

bool any_in_flight(const core::State& s) {
    return s.query.in_flight || std::ranges::any_of(s.branches, [](const BranchState& b) {
               return b.action.in_flight || b.compensate.in_flight;
           });
}

// What a reader of the row must find again. Texts are for people, in_flight is never stored.
bool says_the_same(const core::OpState& memory, const core::OpState& row) {
    return memory.status == row.status && memory.next == row.next &&
           memory.attempts == row.attempts && memory.errors == row.errors;
}

}  // namespace

void World::fail(const char* promise, int tx, int branch) {
    if (!broken_) broken_ = {promise, static_cast<u8>(tx), branch};
}

void World::check_decision(const Trans& t, const core::Decision& d) {
    const core::State& s = d.state;
    const bool open = any_in_flight(s);
    if (core::is_final(s.status)) {
        if (open || !d.calls.empty() || d.wake) fail("P6: final with something open", index(t));
        return;
    }
    const bool inert = t.shape->inert_while_prepared() && s.status == Status::prepared;
    if (s.outdated && (open || !d.calls.empty()))
        fail("P6: something is called although branches may be missing", index(t));
    if (!open && !d.wake && !inert && !s.outdated)
        fail("P1: nothing in flight and nothing to wait for", index(t));
    const auto end = core::deadline(request_of(t), s, policy_);
    if (end && *end > now_ && (!d.wake || *d.wake > *end))
        fail("dtm-compat 5.10.1: the deadline is not waited for", index(t));
    const std::uint32_t limit = t.shape->request.options.retry_limit;
    if (limit == 0) return;
    // A call whose answer was lost with the memory is made once more.
    const std::uint32_t most = limit + t.loads;
    for (int i = 0; i < static_cast<int>(s.branches.size()); ++i)
        if (s.branches[static_cast<std::size_t>(i)].action.attempts > most)
            fail("dtm-compat 5.5.5: called more often than retry_limit allows", index(t), i);
}

// Called again not before its time (dtm-compat 5.10.2); only retry_limit makes haste (5.5.5).
void World::expect_pause(Trans& t, const core::Answer& answer) {
    const Result r = answer.outcome.result;
    const core::Request& request = t.shape->request;
    const bool saga_action = t.shape->saga() && answer.op == Op::action;
    Time& at = t.too_early[op_index(answer.branch, answer.op)];
    // A workflow's client is asked again whatever it says.
    const bool heard = answer.op == Op::query && t.shape->workflow() && r != Result::error;
    if (r == Result::success && !heard) return;
    if (r == Result::deferred)
        at = answer.outcome.not_before.value_or(now_);
    else if (heard)
        at = now_ + core::base_interval(request, policy_);
    else if (!(saga_action && request.options.retry_limit > 0))
        at = now_ + core::base_interval(request, policy_) * (r == Result::ongoing ? 1 : 2);
}

bool World::same_call_awaited(const Trans& t, core::Call call) const {
    for (int i = 0; i < call_count_; ++i) {
        const Call& c = this->call(i);
        if (c.awaited && c.tx == index(t) && c.branch == call.branch && c.op == call.op)
            return true;
    }
    return false;
}

bool World::waits_for(const Trans& t, int later, int earlier) const {
    return bit(t.shape->upon[static_cast<std::size_t>(later)], earlier);
}

// A call leaves. Where the row has changed since it was read, only its past can be asked.
void World::check_leaving(const Trans& t, core::Call call) {
    const int tx = index(t), branch = static_cast<int>(call.branch);
    const Row& row = t.row;
    const core::State& s = t.active.state;
    const core::Options& o = t.shape->request.options;
    const bool current = row.version == t.active.version;
    if (!row.visible) fail("P2: a call leaves, but the submit has not committed", tx, branch);
    if (same_call_awaited(t, call))
        fail("I4: an operation is called while its last call is waited for", tx, branch);
    if (now_ < t.too_early[op_index(call.branch, call.op)])
        fail("dtm-compat 5.10.2: an operation is called again before its time", tx, branch);
    if (call.op == Op::query) {
        const core::Seconds own = o.timeout_to_fail;
        const core::Seconds silence = t.shape->workflow()
                                          ? core::base_interval(t.shape->request, policy_)
                                      : own.count() > 0 ? own
                                                        : policy_.timeout_to_fail;
        if (now_ < row.created + silence && !(t.shape->workflow() && t.hurried))
            fail("dtm-compat 5.4: the client is asked before its time is over", tx);
        if (current && row.status != Status::prepared)
            fail("P4: the client is asked, but the row says that it is decided", tx);
        return;
    }
    if (t.shape->two_phase()) return check_second_phase_leaving(t, call);
    const BranchState& own = s.branches[call.branch];
    if (call.op == Op::compensate) {
        if (!row.was_aborting || (current && row.status != Status::aborting))
            fail("P5: a compensation leaves, but the row does not say aborting", tx, branch);
        if (own.action.in_flight || same_call_awaited(t, {call.branch, Op::action}))
            fail("P6: a compensation leaves while its action is waited for (D21)", tx, branch);
        for (int j = 0; j < t.shape->count(); ++j) {
            const BranchState& other = s.branches[static_cast<std::size_t>(j)];
            if (waits_for(t, j, branch) && other.may_have_run &&
                other.compensate.status != BranchStatus::succeed)
                fail("P6: a compensation leaves before that of a later step is done", tx, branch);
        }
        return;
    }
    if (!row.was_submitted) fail("P2: an action leaves, but the row never said submitted", tx);
    if (t.shape->message() && now_ < row.created + o.delay)
        fail("dtm-compat 5.4: a delayed message is delivered too early", tx, branch);
    if (!current) return;
    // An action that waited for its flush while the decision fell leaves all the same: somebody
    // must answer for it. It is harmless as long as its own compensation has not left (D21).
    const bool held_over = row.status == Status::aborting && !own.compensate.in_flight &&
                           own.compensate.status == BranchStatus::prepared;
    if (row.status != Status::submitted && !held_over)
        fail("P5: an action leaves, but the row does not say submitted", tx, branch);
    const bool named =
        row.fresh ? !o.exact_progress : row.progress.branches[call.branch].may_have_run;
    if (!named && (t.shape->saga() || o.exact_progress))
        fail("P5: an action leaves, but the row does not say that it may have run", tx, branch);
}

// The business runs: are the effects of others as this one expects them?
void World::check_order(const Trans& t, int branch, Op op) {
    const int tx = index(t);
    const Shape& shape = *t.shape;
    const Branch& own = t.branch[static_cast<std::size_t>(branch)];
    const bool undoable = bit(shape.undoes, branch) && !own.undo_skipped;
    if (op == Op::action) {
        if (!t.row.visible) fail("P2: an effect without a committed submit", tx, branch);
        if (shape.asks() && t.local != Local::committed)
            fail("P2: delivered, but the client's transaction did not commit", tx, branch);
        if (t.row.status == Status::failed && !t.row.stopped) {
            if (!shape.saga())
                fail("P4: delivered after the message was taken back", tx, branch);
            else if (undoable)
                fail("P6: failed, and then the action has its effect", tx, branch);
        }
    }
    for (int j = 0; j < shape.count(); ++j) {
        const Branch& other = t.branch[static_cast<std::size_t>(j)];
        // Without a way back nothing keeps a late call from its effect.
        if (op == Op::action && (undoable || !shape.saga()) && bit(shape.calls, j) &&
            waits_for(t, branch, j) && !other.stands() && !other.action_skipped)
            fail("dtm-compat 5.5.2: an action has its effect without its predecessor's", tx,
                 branch);
        if (op == Op::compensate && bit(shape.undoes, j) && other.stands() &&
            waits_for(t, j, branch) && !other.undo_skipped)
            fail("P6: undone before the step that was built upon it", tx, branch);
    }
}

void World::check_row(const Trans& t, Status from, bool by_coordinator) {
    Row& row = at(index(t)).row;
    const int tx = index(t);
    const Shape& shape = *t.shape;
    if (core::is_final(from)) fail("P4: a final row is written", tx);
    if (!reachable(shape.request.type, from, row.status))
        fail("P4: the row takes a way that the table does not have", tx);
    if (row.status == Status::submitted || row.status == Status::succeed) row.was_submitted = true;
    if (row.status == Status::aborting) row.was_aborting = true;
    if (shape.workflow() && by_coordinator && row.status != from)
        fail("P4: the coordinator ends a workflow", tx);
    if (row.stopped) return;
    if (row.status == Status::succeed && by_coordinator && row.was_aborting)
        fail("P4: succeed after a decision to roll back", tx);
    if (shape.two_phase()) return check_second_phase_row(t);
    for (int i = 0; i < shape.count(); ++i) {
        const Branch& b = t.branch[static_cast<std::size_t>(i)];
        if (row.status == Status::succeed && bit(shape.calls, i) && !b.stands() &&
            !b.action_skipped)
            fail("P3: succeed, but a branch has no effect", tx, i);
        if (row.status == Status::failed && bit(shape.undoes, i) && b.stands() && !b.undo_skipped)
            fail("P6: failed, but the effect of a branch stands", tx, i);
    }
    if (row.status == Status::failed && shape.asks() && t.local != Local::never)
        fail("P1: a message is taken back whose transaction committed or still can", tx);
}

// It leaves memory because "no write" means that the row says it all (core/README.md, 5).
void World::check_rest(const Trans& t) {
    const Row& row = t.row;
    const core::State& s = t.active.state;
    if (row.version != t.active.version || core::is_final(row.status)) return;
    bool same = s.status == row.status;
    static const BranchState untouched;
    for (std::size_t i = 0; i < s.branches.size(); ++i) {
        const bool named = !row.fresh && i < row.progress.branches.size();
        const BranchState& r = named ? row.progress.branches[i] : untouched;
        same = same && says_the_same(s.branches[i].action, r.action) &&
               says_the_same(s.branches[i].compensate, r.compensate) &&
               (!named || s.branches[i].may_have_run == r.may_have_run);
    }
    same = same && says_the_same(s.query, row.fresh ? untouched.action : row.progress.query);
    if (!same && mutant_ != Mutant::row_forgets_frontier)
        fail("P1: at rest, but the row does not say what the memory says", index(t));
}

void World::check_late(const Trans& t, const core::State& before) {
    if (!(before == t.active.state)) fail("P4: a late answer changes something", index(t));
}

void World::check_end() {
    long booked = 0, expected = 0;
    for (const long a : account_) booked += a;
    for (int tx = 0; tx < count_; ++tx) {
        const Trans& t = trans(tx);
        const bool inert = t.shape->inert_while_prepared() && t.row.status == Status::prepared;
        if (t.row.visible && !core::is_final(t.row.status) && !inert)
            fail("P1: trouble is over, and the transaction does not end", tx);
        bool skipped = false;
        long moved = 0;
        for (int i = 0; i < t.shape->count(); ++i) {
            const Branch& b = t.branch[static_cast<std::size_t>(i)];
            skipped = skipped || b.action_skipped || b.undo_skipped;
            moved += t.shape->money[static_cast<std::size_t>(i)] * (b.runs - b.undos);
        }
        // What an operator ends or skips stays as it was left.
        if (t.row.stopped || skipped) expected += moved;
    }
    if (booked != expected) fail("P3, P6: the sum of all money has changed", 0);
}

}  // namespace sim
