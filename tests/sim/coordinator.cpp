// The driver, as worker/actives.cpp, worker/settler.cpp and worker/coordinator.cpp are: names are
// theirs. One turn of the real one is taken apart into steps, because a crash can come between.
#include "world.hpp"

#include <algorithm>

namespace sim {

using core::BranchStatus;

void World::forget_everything() {
    for (int i = 0; i < count_; ++i) {
        Trans& t = at(i);
        forget(t);
        t.hinted = t.reloadable = false;  // a crash takes shared memory along
        t.alarm.reset();
        t.swept = Time{};
    }
    alive_ = false;
    end_awaiting(nullptr);
}

// Somebody tells the coordinator to look at the row: the ring, an alarm, the sweep.
bool World::ready(const Trans& t) const {
    if (!alive_ || !(t.row.visible || (mutant_ == Mutant::reads_uncommitted && t.row.exists)))
        return false;
    if (t.hinted || t.reloadable) return true;
    if (t.active.present) return false;
    if (t.alarm && *t.alarm <= now_) return true;
    // One look per instant: there is time between two sweeps.
    return t.row.due && *t.row.due <= now_ && t.swept != now_ && mutant_ != Mutant::no_sweep;
}

bool World::load(Trans& t) {
    if (!ready(t)) return false;
    t.hinted = t.reloadable = false;
    t.alarm.reset();
    t.swept = now_;
    Active& a = t.active;
    if (a.present) {
        if (a.version == t.row.version) {
            if (a.resting_until) a.wake = now_;
        } else if (!a.reload) {
            changed_by_others(t);
        }
        return true;
    }
    if (core::is_final(t.row.status) || t.row.aside) return true;
    add(t);
    return true;
}

const core::Request& World::request_of(const Trans& t) const {
    return t.shape->known(t.active.known);
}

core::State World::stored_state(const Trans& t, bool virgin) const {
    const auto fresh = virgin ? core::initial_state : core::recovered_fresh_state;
    return fresh(t.shape->known(t.registered), t.row.status, t.row.created);
}

// What stored.cpp and state_of() make of a row, with all branches that are registered by now.
core::State World::read_state(const Trans& t, bool virgin) const {
    if (t.row.fresh) return stored_state(t, virgin);
    core::State state = t.row.progress;
    state.status = t.row.status;
    if (t.shape->two_phase()) {
        state.branches.resize(t.registered);
        state.durable_may_have_run.resize(t.registered);
    }
    return state;
}

void World::add(Trans& t) {
    Active& a = t.active;
    const Row& row = t.row;
    ++t.loads;
    t.too_early.fill({});  // times wait for the next settle, so a crash may lose them
    const bool virgin = row.version == 1 && row.born == life_;
    a.state = read_state(t, virgin || mutant_ == Mutant::fresh_as_new);
    a.known = t.registered;
    if (mutant_ == Mutant::row_forgets_frontier)
        for (core::BranchState& b : a.state.branches)
            b.may_have_run = b.action.status != BranchStatus::prepared;
    if (!row.fresh)
        for (std::size_t i = 0; i < a.state.branches.size(); ++i)
            a.state.durable_may_have_run[i] = a.state.branches[i].may_have_run;
    a.present = true;
    a.reload = false;
    a.in_flight = a.held_count = 0;
    a.dirty = Write::none;
    a.wake.reset();
    a.resting_until.reset();
    a.version = row.version;
    a.id = next_active_++;
    decide(t, core::Loaded{});
    let_go_if_idle(t);
}

void World::decide(Trans& t, const core::Event& event) {
    Active& a = t.active;
    const Status before = a.state.status;
    core::Decision d = core::decide(request_of(t), std::move(a.state), event, now_, policy_);
    ++decisions;
    check_decision(t, d);
    a.state = std::move(d.state);
    a.dirty = std::max(a.dirty, d.write);
    if (story && a.state.status != before)
        note(t, "decides " + std::string(to_string(a.state.status)) + " (" +
                    (a.state.rollback_reason.empty() ? "all done" : a.state.rollback_reason) + ")");
    for (const core::Call& call : d.calls) {
        if (a.dirty == Write::flush && mutant_ != Mutant::calls_before_flush) {
            if (story)
                note(t, std::string(to_string(call.op)) + " " +
                            static_cast<char>('A' + call.branch) + " waits for the write");
            a.held[a.held_count++] = call;
        } else {
            leave(t, call);
        }
    }
    if (!a.resting_until) a.wake = d.wake;
}

void World::leave(Trans& t, core::Call call) {
    check_leaving(t, call);
    if (story)
        note(t, call.op == Op::query ? std::string("query leaves")
                                     : std::string(to_string(call.op)) + " " +
                                           static_cast<char>('A' + call.branch) + " leaves");
    ++t.active.in_flight;
    Call c;
    c.tx = static_cast<u8>(index(t));
    c.branch = static_cast<u8>(call.branch);
    c.op = call.op;
    c.awaited = true;
    c.life = life_;
    c.active = t.active.id;
    add_call(c);
}

namespace {

bool awaits(const core::State& s, const Call& call) {
    if (call.op == Op::query) return s.query.in_flight;
    if (call.branch >= s.branches.size()) return false;
    const core::BranchState& b = s.branches[call.branch];
    return call.op == Op::action ? b.action.in_flight : b.compensate.in_flight;
}

}  // namespace

// Of a call that somebody may wait for: its only answer, or its time is over.
void World::take_answer(const Call& call, Result result) {
    if (!alive_) return;
    for (int i = 0; i < count_; ++i) {
        Trans& t = at(i);
        Active& a = t.active;
        if (!a.present || a.id != call.active) continue;
        const bool own = call.life == life_ && call.tx == i;
        if (!own && mutant_ != Mutant::ids_across_lives) continue;
        core::Answer answer{call.branch, call.op, {}};
        answer.outcome.result = result;
        answer.outcome.reason = result == Result::success ? "" : "no";
        if (result == Result::deferred) answer.outcome.not_before = now_ + core::Seconds{3};
        if (!call.awaited) {  // late: the real network has no such answer, core ignores it (P4)
            if (own) {
                if (awaits(a.state, call) || a.reload) return;
                const core::State before = a.state;
                decide(t, answer);
                check_late(t, before);
                return;
            }
            decide(t, answer);
            return let_go_if_idle(t);
        }
        if (a.in_flight > 0) --a.in_flight;
        if (a.reload) return changed_by_others(t);
        expect_pause(t, answer);
        const bool news = awaits(a.state, call);
        decide(t, answer);
        if (news && t.shape->request.options.exact_progress && a.dirty == Write::none)
            fail("design 7.3: exact_progress, and a step is not written", i, call.branch);
        return let_go_if_idle(t);
    }
}

void World::let_go_if_idle(Trans& t) {
    Active& a = t.active;
    if (a.in_flight > 0 || a.dirty != Write::none || a.held_count > 0) return;
    if (a.wake && *a.wake <= now_) return;
    check_rest(t);
    if (a.wake) t.alarm = a.wake;
    forget(t);
}

void World::forget(Trans& t) { t.active.present = false; }

// Its memory is given up while its calls are under way: nobody waits for them any more, and the
// answers are lost. Null: of all.
void World::end_awaiting(const Trans* t) {
    int kept = 0;
    for (int i = 0; i < call_count_; ++i) {
        Call c = call(i);
        if (!t || (c.tx == index(*t) && c.active == t->active.id && c.life == life_)) {
            c.awaited = false;
            if (c.answered) continue;
        }
        calls_[static_cast<std::size_t>(kept++)] = c;
    }
    call_count_ = kept;
}

void World::changed_by_others(Trans& t) {
    Active& a = t.active;
    a.reload = true;
    a.held_count = 0;
    if (a.in_flight > 0 && mutant_ != Mutant::reload_at_once) {
        if (story) note(t, "row has changed, waits for its calls");
        return;
    }
    if (story) note(t, "row has changed, forgets it and reads again");
    t.reloadable = true;
    forget(t);
}

bool World::writable(const Trans& t) const {
    const Active& a = t.active;
    return a.present && a.dirty != Write::none && !a.reload && !a.resting_until;
}

namespace {

bool clean_success(const Active& a) {
    if (a.version != 1 || a.state.status != Status::succeed || a.state.query.attempts != 0)
        return false;
    return std::ranges::all_of(a.state.branches, [](const core::BranchState& b) {
        return b.action.attempts <= 1 && b.action.status == BranchStatus::succeed;
    });
}

}  // namespace

void World::write(Trans& t) {
    Row& row = t.row;
    const Active& a = t.active;
    const Status from = row.status;
    row.status = a.state.status;
    ++row.version;
    row.due.reset();
    if (!clean_success(a)) {
        row.fresh = false;
        row.progress = a.state;
        row.progress.outdated = false;
        row.progress.query.in_flight = false;
        for (core::BranchState& b : row.progress.branches)
            b.action.in_flight = b.compensate.in_flight = false;
        row.progress.durable_fresh = false;
        row.progress.durable_may_have_run.resize(a.state.branches.size());
        if (mutant_ != Mutant::due_forgotten)
            row.due = core::next_due(request_of(t), a.state, policy_);
    }
    if (story) note(t, "row says " + std::string(to_string(row.status)));
    check_row(t, from, true);
}

bool World::settle(unsigned locked, Kind how) {
    if (!alive_) return false;
    std::array<bool, kMaxTrans> written{}, conflict{};
    bool any = false, left_out = false;
    for (int i = 0; i < count_; ++i) {
        Trans& t = at(i);
        if (!writable(t)) continue;
        if ((locked >> i & 1) != 0) {
            left_out = true;
            continue;
        }
        any = true;
        const auto n = static_cast<std::size_t>(i);
        const bool same = t.row.version == t.active.version && t.row.visible;
        written[n] = same || mutant_ == Mutant::settle_unguarded;
        conflict[n] = !written[n];
        if (mutant_ == Mutant::calls_before_commit && written[n]) {
            for (int h = 0; h < t.active.held_count; ++h)
                leave(t, t.active.held[static_cast<std::size_t>(h)]);
            t.active.held_count = 0;
        }
    }
    if (!any || (how == Kind::settle_locked && !left_out)) return false;
    if (how != Kind::settle_lost)
        for (int i = 0; i < count_; ++i)
            if (written[static_cast<std::size_t>(i)]) write(at(i));
    if (how == Kind::settle_lost || how == Kind::settle_then_crash) {
        forget_everything();
        return true;
    }
    for (int i = 0; i < count_; ++i)
        if (written[static_cast<std::size_t>(i)]) settled(at(i));
    for (int i = 0; i < count_; ++i)
        if (conflict[static_cast<std::size_t>(i)]) changed_by_others(at(i));
    return true;
}

void World::settled(Trans& t) {
    Active& a = t.active;
    ++a.version;
    a.dirty = Write::none;
    if (core::is_final(a.state.status)) {
        end_awaiting(&t);
        return forget(t);
    }
    if (a.state.outdated && mutant_ == Mutant::branches_not_reread) {
        decide(t, core::Loaded{});
        return let_go_if_idle(t);
    }
    if (a.state.outdated) {
        if (story) note(t, "forgets it and reads it again, with its branches");
        t.reloadable = true;
        return forget(t);
    }
    const int held = a.held_count;
    a.held_count = 0;
    for (int i = 0; i < held; ++i) leave(t, a.held[static_cast<std::size_t>(i)]);
    let_go_if_idle(t);
}

// Settler::put_aside: the row is marked if it is still the one that was read; the memory goes.
bool World::put_aside(Trans& t) {
    if (!alive_ || !writable(t)) return false;
    if (t.row.version == t.active.version) {
        t.row.aside = true;
        t.row.due.reset();
        ++t.row.version;
    }
    end_awaiting(&t);
    forget(t);
    return true;
}

std::optional<Time> World::next_event() const {
    std::optional<Time> next;
    bool sweep = false;
    const auto earlier = [&](const std::optional<Time>& at) {
        if (at && *at > now_ && (!next || *at < *next)) next = at;
    };
    for (int i = 0; i < count_; ++i) {
        const Trans& t = trans(i);
        if (t.active.present) {
            if (!t.active.reload) earlier(t.active.wake);
            continue;
        }
        earlier(t.alarm);
        if (!t.row.visible || mutant_ == Mutant::no_sweep) continue;
        earlier(t.row.due);
        sweep = sweep || (t.row.due && *t.row.due <= now_);
    }
    if (sweep && !next) next = now_ + core::Seconds{1};
    return next;
}

}  // namespace sim
