// tcc and xa: clients that register and try their branches one by one, the second phase at the
// participants, and what must be true of it: one decision for all, and nobody left out.
#include "world.hpp"

namespace sim {

using core::BarrierOp;
using core::BarrierRows;
using core::BranchStatus;
using core::Verdict;

namespace {

bool bit(u8 mask, int i) { return (mask >> i & 1) != 0; }

struct Ops {
    BarrierOp first, keep, undo;
};

Ops ops_of(const Shape& shape) {
    return shape.request.type == TransType::tcc
               ? Ops{BarrierOp::tcc_try, BarrierOp::confirm, BarrierOp::cancel}
               : Ops{BarrierOp::action, BarrierOp::commit, BarrierOp::rollback};
}

// Whose turn comes before that of `branch`, forward and backward (dtm-compat 5.6, 5.7).
bool is_before(const Shape& shape, int other, int branch) {
    return shape.request.type == TransType::tcc ? other > branch : other < branch;
}

}  // namespace

// ---- clients ------------------------------------------------------------------------------------

bool World::enroll(Trans& t) {
    if (t.client != Client::prepared || !t.shape->two_phase()) return false;
    if (t.registered >= t.shape->count()) return false;
    if (rule(t, core::Command::register_branch).what == core::Ruling::What::insert)
        ++t.registered;  // the row's version stays what it is
    else
        t.client = Client::gone;  // refused: too late for anything
    return true;
}

int World::untried(const Trans& t) const {
    for (int i = 0; i < t.registered; ++i)
        if (t.branch[static_cast<std::size_t>(i)].action_row != 1) return i;
    return -1;
}

bool World::all_tried(const Trans& t) const {
    return t.registered == t.shape->count() && untried(t) < 0;
}

bool World::try_first(Trans& t) {
    if (t.client != Client::prepared || untried(t) < 0) return false;
    if (!arrive_try(t, untried(t))) t.client = Client::gone;
    return true;
}

bool World::late_try(Trans& t, int branch) {
    if (t.client != Client::gone || !t.shape->two_phase() || branch >= t.registered) return false;
    if (t.branch[static_cast<std::size_t>(branch)].action_row == 1) return false;
    arrive_try(t, branch);
    return true;
}

// ---- participants -------------------------------------------------------------------------------

bool World::arrive_try(Trans& t, int branch) {
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    const Ops ops = ops_of(*t.shape);
    BarrierRows rows;
    rows.own_inserted = b.action_row == 0;
    if (!rows.own_inserted) rows.own_reason = to_string(b.action_row == 1 ? ops.first : ops.undo);
    const Verdict verdict = mutant_ == Mutant::no_barrier ? Verdict::run : judge(ops.first, rows);
    if (b.action_row == 0) b.action_row = 1;
    if (story) note(t, std::string("barrier: ") + std::string(to_string(verdict)));
    if (verdict != Verdict::run) return false;
    ++b.runs;
    account_[static_cast<std::size_t>(branch) & 3] +=
        t.shape->money[static_cast<std::size_t>(branch)];
    if (b.undos > 0) fail("P3: an effect that was undone is done again", index(t), branch);
    const bool undoable = bit(t.shape->undoes, branch) && !b.undo_skipped;
    if (t.row.status == Status::failed && !t.row.stopped && undoable)
        fail("P6: failed, and then a try has its effect", index(t), branch);
    return true;
}

Result World::arrive_confirm(Trans& t, int branch) {
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    const BarrierOp op = ops_of(*t.shape).keep;
    BarrierRows rows;
    rows.own_inserted = !b.confirm_row;
    if (!rows.own_inserted) rows.own_reason = to_string(op);
    const Verdict verdict = mutant_ == Mutant::no_barrier ? Verdict::run : judge(op, rows);
    b.confirm_row = true;
    if (story) note(t, std::string("barrier: ") + std::string(to_string(verdict)));
    if (verdict == Verdict::run) {
        check_second_phase(t, branch, Op::action);
        if (++b.confirms > 1) fail("P3: a branch is confirmed twice", index(t), branch);
        if (!b.stands()) fail("P3: confirmed, but nothing is reserved", index(t), branch);
    }
    return Result::success;
}

Result World::arrive_cancel(Trans& t, int branch) {
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    const BarrierOp op = ops_of(*t.shape).undo;
    BarrierRows rows;
    rows.origin_inserted = b.action_row == 0;
    rows.own_inserted = !b.undo_row;
    if (!rows.own_inserted) rows.own_reason = to_string(op);
    const Verdict verdict = mutant_ == Mutant::no_barrier ? Verdict::run : judge(op, rows);
    if (story) note(t, std::string("barrier: ") + std::string(to_string(verdict)));
    if (!b.undo_row) check_second_phase(t, branch, Op::compensate);
    if (b.action_row == 0) b.action_row = 2;
    b.undo_row = true;
    if (verdict == Verdict::run) run_undo(t, branch);
    return Result::success;
}

// ---- oracle -------------------------------------------------------------------------------------

// A confirm or cancel reaches its participant for the first time.
void World::check_second_phase(const Trans& t, int branch, Op op) {
    const int tx = index(t);
    const Shape& shape = *t.shape;
    const bool forward = op == Op::action;
    if (forward ? !t.row.was_submitted : !t.row.was_aborting)
        fail("P5: a second phase has an effect before its decision is durable", tx, branch);
    for (int j = 0; j < t.registered; ++j) {
        const Branch& other = t.branch[static_cast<std::size_t>(j)];
        if (forward ? other.undo_row : other.confirm_row)
            fail("P4: one branch is confirmed and another is cancelled", tx, branch);
        if (!is_before(shape, j, branch)) continue;
        const bool silent = !bit(forward ? shape.calls : shape.undoes, j);
        const bool done = forward ? other.confirm_row || other.action_skipped
                                  : other.undo_row || other.undo_skipped;
        if (!silent && !done)
            fail("dtm-compat 5.6, 5.7: confirmed or cancelled before its turn", tx, branch);
    }
}

void World::check_second_phase_leaving(const Trans& t, core::Call call) {
    const int tx = index(t), branch = static_cast<int>(call.branch);
    const Row& row = t.row;
    const bool forward = call.op == Op::action;
    const bool current = row.version == t.active.version;
    if (forward ? !row.was_submitted : !row.was_aborting)
        fail("P5: a second phase begins, but the row does not say so", tx, branch);
    if (current && row.status != (forward ? Status::submitted : Status::aborting))
        fail("P4: a second phase goes the other way than the row", tx, branch);
    if (!forward && t.active.known != t.registered)
        fail("P6: a cancel leaves, but not all branches are known", tx, branch);
    const core::State& s = t.active.state;
    for (std::size_t j = 0; j < s.branches.size(); ++j) {
        const core::OpState& other = forward ? s.branches[j].action : s.branches[j].compensate;
        const int i = static_cast<int>(j);
        if (is_before(*t.shape, i, branch) && other.status != BranchStatus::succeed)
            fail("dtm-compat 5.6, 5.7: a call leaves before its turn", tx, branch);
        if (i != branch && other.in_flight)
            fail("dtm-compat 5.6, 5.7: two branches are called at a time", tx, branch);
    }
}

void World::check_second_phase_row(const Trans& t) {
    const Shape& shape = *t.shape;
    const Row& row = t.row;
    if (row.was_submitted && row.was_aborting)
        fail("P4: submitted and aborting are both decided", index(t));
    for (int i = 0; i < t.registered; ++i) {
        const Branch& b = t.branch[static_cast<std::size_t>(i)];
        const bool kept = b.confirms > 0 || b.action_skipped || !bit(shape.calls, i);
        const bool undone = b.undo_row || b.undo_skipped || !bit(shape.undoes, i);
        if (row.status == Status::succeed && !kept)
            fail("P3: succeed, but a branch is not confirmed", index(t), i);
        if (row.status == Status::failed && !undone)
            fail("P6: failed, but a branch is not cancelled", index(t), i);
    }
}

}  // namespace sim
