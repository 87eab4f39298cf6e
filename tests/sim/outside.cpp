// Participants with dtm's barrier, the network, clients and the operator.
#include "core/machine.hpp"
#include "world.hpp"

namespace sim {

using core::BarrierOp;
using core::BarrierRows;
using core::Verdict;

// ---- network ------------------------------------------------------------------------------------

void World::add_call(const Call& call) {
    if (call_count_ == kMaxCalls)  // a call that nobody waits for is lost
        for (int i = 0; i < call_count_; ++i)
            if (!calls_[static_cast<std::size_t>(i)].awaited) {
                remove_call(i);
                break;
            }
    Call c = call;
    c.ordinal = at(c.tx).calls_made[op_index(c.branch, c.op)]++;
    calls_[static_cast<std::size_t>(call_count_++)] = c;
}

void World::remove_call(int i) {
    --call_count_;
    for (int j = i; j < call_count_; ++j)
        calls_[static_cast<std::size_t>(j)] = calls_[static_cast<std::size_t>(j + 1)];
}

// ---- participants -------------------------------------------------------------------------------

Result World::arrive(const Call& call) {
    Trans& t = at(call.tx);
    switch (call.op) {
        case Op::query:
            return arrive_query(t);
        case Op::action:
            return t.shape->two_phase() ? arrive_confirm(t, call.branch)
                                        : arrive_action(t, call.branch);
        case Op::compensate:
            return t.shape->two_phase() ? arrive_cancel(t, call.branch)
                                        : arrive_compensation(t, call.branch);
    }
    return Result::error;
}

// The question's barrier row takes the place of the client's: what has not committed never will.
// A workflow's client takes its work up again, and reports before it answers.
Result World::arrive_query(Trans& t) {
    if (t.shape->workflow()) {
        obey(t, rule(t, core::Command::finish));
        return Result::success;
    }
    if (t.local == Local::undecided) t.local = Local::never;
    return t.local == Local::committed ? Result::success : Result::failure;
}

Result World::arrive_action(Trans& t, int branch) {
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    const BarrierOp op = BarrierOp::action;
    BarrierRows rows;
    rows.own_inserted = b.action_row == 0;
    if (!rows.own_inserted)
        rows.own_reason = to_string(b.action_row == 1 ? op : BarrierOp::compensate);
    const Verdict verdict = mutant_ == Mutant::no_barrier ? Verdict::run : judge(op, rows);
    if (b.action_row == 0) b.action_row = 1;
    if (story) note(t, std::string("barrier: ") + std::string(to_string(verdict)));
    if (verdict == Verdict::run) {
        check_order(t, branch, Op::action);
        ++b.runs;
        account_[static_cast<std::size_t>(branch) & 3] +=
            t.shape->money[static_cast<std::size_t>(branch)];
        if (b.runs - b.undos > 1)
            fail("P3: the action of a branch has its effect twice", index(t), branch);
        if (b.undos > 0) fail("P3: an effect that was undone is done again", index(t), branch);
    }
    return verdict == Verdict::hanging && t.strict ? Result::failure : Result::success;
}

Result World::arrive_compensation(Trans& t, int branch) {
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    const BarrierOp op = BarrierOp::compensate;
    BarrierRows rows;
    rows.origin_inserted = b.action_row == 0;
    rows.own_inserted = !b.undo_row;
    if (!rows.own_inserted) rows.own_reason = to_string(op);
    const Verdict verdict = mutant_ == Mutant::no_barrier ? Verdict::run : judge(op, rows);
    if (b.action_row == 0) b.action_row = 2;
    b.undo_row = true;
    if (story) note(t, std::string("barrier: ") + std::string(to_string(verdict)));
    if (verdict == Verdict::run) {
        check_order(t, branch, Op::compensate);
        run_undo(t, branch);
    }
    return Result::success;
}

void World::run_undo(Trans& t, int branch) {
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    ++b.undos;
    account_[static_cast<std::size_t>(branch) & 3] -=
        t.shape->money[static_cast<std::size_t>(branch)];
    if (b.undos > b.runs)
        fail("P3: a compensation has an effect where there was nothing to undo, or twice", index(t),
             branch);
}

// A participant that did it once does not refuse it afterwards; FAILURE of a second phase, or of
// a workflow's client, means nothing.
bool World::can_refuse(const Call& call) const {
    const Shape& shape = *trans(call.tx).shape;
    if (shape.two_phase() || shape.workflow()) return true;
    if (call.op == Op::query) return false;
    return call.op == Op::compensate || trans(call.tx).branch[call.branch].action_row == 0;
}

// ---- clients ------------------------------------------------------------------------------------

bool World::begin(Trans& t) {
    if (t.client != Client::idle) return false;
    Row& row = t.row;
    row.exists = true;
    row.created = now_;
    row.born = life_;
    row.status = t.shape->prepared ? Status::prepared : Status::submitted;
    if (t.shape->prepared) {
        const core::State state = stored_state(t, true);
        row.due = core::next_due(t.shape->known(t.registered), state, policy_);
        row.visible = t.hinted = true;
        t.client = Client::prepared;
    } else {
        row.due = now_ + t.shape->request.options.delay;
        t.client = Client::open;
        if (mutant_ == Mutant::reads_uncommitted) t.hinted = true;
    }
    return true;
}

// Guarded like every update: the version grows, and the coordinator is told (design 5.4).
void World::change_status(Trans& t, Status to) {
    const Status from = t.row.status;
    t.row.status = to;
    ++t.row.version;
    t.row.due.reset();
    if (core::is_final(to)) t.row.aside = t.row.paused = false;
    if (!core::is_final(to) && !t.row.aside)
        t.row.due = now_;  // as make_due() does: one look too many
    t.hinted = true;
    check_row(t, from, false);
}

core::Ruling World::rule(const Trans& t, core::Command command, Status end) const {
    const core::Request& r = t.shape->request;
    return core::rule(command, r.gid, r.type, core::Found{r.type, t.row.status}, end);
}

void World::obey(Trans& t, const core::Ruling& ruling) {
    if (ruling.what == core::Ruling::What::change) change_status(t, ruling.to);
    if (ruling.what == core::Ruling::What::hurry) t.hinted = true;  // another look
}

void World::submit(Trans& t) {
    t.client = Client::gone;
    obey(t, rule(t, t.shape->workflow() ? core::Command::finish : core::Command::submit));
}

bool World::client_commits(Trans& t) {
    if (t.client != Client::prepared || !t.shape->message()) return false;
    if (t.local == Local::never) {  // the query was faster: its barrier row is in the way
        t.client = Client::gone;
        return true;
    }
    t.local = Local::committed;
    t.client = Client::committed;
    return true;
}

bool World::client_aborts(Trans& t) {
    if (t.client != Client::prepared || t.shape->saga()) return false;
    if (t.shape->message() && t.local == Local::committed) return false;
    t.client = Client::gone;
    if (t.shape->message()) t.local = Local::never;
    obey(t, t.shape->workflow() ? rule(t, core::Command::finish, Status::failed)
                                : rule(t, core::Command::abort));
    return true;
}

bool World::client_step(Trans& t, Kind kind) {
    const bool message = t.shape->message();
    switch (kind) {
        case Kind::begin:
            return begin(t);
        case Kind::commit:
            if (t.client != Client::open) return false;
            t.client = Client::gone;
            t.local = Local::committed;
            t.row.visible = t.row.was_submitted = t.hinted = true;
            return true;
        case Kind::roll_back:
            if (t.client != Client::open) return false;
            t.client = Client::gone;
            t.local = Local::never;
            t.row.exists = false;
            t.row.due.reset();
            return true;
        case Kind::local_commit:
            return client_commits(t);
        case Kind::enroll:
            return enroll(t);
        case Kind::try_first:
            return try_first(t);
        case Kind::submit:
            if (t.client != (message ? Client::committed : Client::prepared)) return false;
            if (t.shape->two_phase() && !all_tried(t)) return false;
            submit(t);
            return true;
        case Kind::client_dies:
            if (t.client == Client::idle || t.client == Client::gone) return false;
            if (t.client == Client::open) return client_step(t, Kind::roll_back);
            t.client = Client::gone;
            if (t.local == Local::undecided) t.local = Local::never;
            return true;
        case Kind::client_aborts:
            return client_aborts(t);
        case Kind::resubmit:  // nobody told the client that its submit has committed
            if (t.client != Client::gone || !t.row.visible || core::is_final(t.row.status) ||
                t.row.status == Status::prepared)
                return false;
            submit(t);
            return true;
        default:
            return false;
    }
}

// ---- the operator (api/verbs.cpp, store/verbs.cpp) ----------------------------------------------

bool World::retry_now(Trans& t) {
    Row& row = t.row;
    if (!row.visible || core::is_final(row.status) || row.paused) return false;
    if (!row.aside && row.due && *row.due <= now_) {
        t.hinted = true;
        return true;
    }
    core::State state = read_state(t, false);
    const core::State before = state;
    const core::Request& request = t.shape->known(t.registered);
    core::retry_now(request, state, now_);
    const auto due = core::next_due(request, state, policy_);
    if (!row.aside && due && *due > now_) return false;
    if (!row.fresh || state != before) {
        row.progress = state;
        row.fresh = false;
    }
    t.hurried = true;
    t.too_early.fill({});
    row.due = now_;
    row.aside = false;
    ++row.version;
    t.hinted = true;
    return true;
}

bool World::force_stop(Trans& t) {
    Row& row = t.row;
    if (!row.visible || core::is_final(row.status)) return false;
    core::State state = read_state(t, false);
    if (!core::force_stop(t.shape->known(t.registered), state)) return false;
    row.stopped = true;
    change_status(t, state.status);
    return true;
}

bool World::skip(Trans& t, int branch) {
    Row& row = t.row;
    if (!row.visible || core::is_final(row.status) || branch >= t.shape->count()) return false;
    const bool virgin = mutant_ == Mutant::skip_forgets_frontier;
    core::State state = read_state(t, virgin);
    const auto n = static_cast<std::uint32_t>(branch);
    if (!core::skip(t.shape->known(t.registered), state, n, now_, "skipped")) return false;
    Branch& b = t.branch[static_cast<std::size_t>(branch)];
    (row.status == Status::aborting ? b.undo_skipped : b.action_skipped) = true;
    row.progress = state;
    row.fresh = false;
    change_status(t, row.status);
    return true;
}

bool World::pause(Trans& t) {
    Row& row = t.row;
    if (!row.visible || core::is_final(row.status) || row.aside) return false;
    row.aside = row.paused = true;
    row.due.reset();
    ++row.version;
    t.hinted = true;
    return true;
}

bool World::resume(Trans& t) {
    Row& row = t.row;
    if (!row.paused) return false;
    row.aside = row.paused = false;
    row.due = now_;
    ++row.version;
    t.hinted = true;
    return true;
}

}  // namespace sim
