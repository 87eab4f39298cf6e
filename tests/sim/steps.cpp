// One step of the world: which are possible, and making one.
#include "world.hpp"

#include <algorithm>
#include <utility>

namespace sim {

void World::reset(const Plan& plan) {
    count_ = plan.count;
    call_count_ = 0;
    now_ = Time{core::Seconds{1'000'000'000}};
    alive_ = false;
    life_ = 0;
    next_active_ = 1;
    account_.fill(0);
    broken_ = {};
    for (int i = 0; i < count_; ++i) {
        const auto n = static_cast<std::size_t>(i);
        Trans& t = trans_[n];
        t.shape = plan.shape[n];
        t.strict = plan.strict[n];
        t.client = Client::idle;
        t.local = t.shape->asks() ? Local::undecided : Local::committed;
        t.hinted = t.reloadable = t.hurried = false;
        t.registered = 0;
        t.alarm.reset();
        t.swept = Time{};
        t.loads = 0;
        t.active.present = false;
        t.branch.fill({});
        t.calls_made.fill(0);
        t.too_early.fill({});
        Row& row = t.row;  // but for its progress, which keeps its storage
        row.exists = row.visible = row.aside = row.paused = row.stopped = false;
        row.was_submitted = row.was_aborting = false;
        row.fresh = true;
        row.version = 1;
        row.due.reset();
    }
}

std::string World::title(int tx) const {
    return count_ > 1 ? "T" + std::to_string(tx + 1) + " " : std::string();
}

void World::note(const Trans& t, const std::string& what) {
    *story += (story->empty() ? "" : "; ") + title(index(t)) + what;
}

bool World::at_rest() const {
    for (int i = 0; i < count_; ++i) {
        const Trans& t = trans(i);
        if (t.client != Client::gone || t.active.present) return false;
        const bool inert = t.shape->inert_while_prepared() && t.row.status == Status::prepared;
        if (t.row.visible && !core::is_final(t.row.status) && !inert) return false;
    }
    return true;
}

int World::ordinary(Possible& to) const {
    int n = 0;
    const auto add = [&](Kind kind, int tx = 0) {
        to[static_cast<std::size_t>(n)] = {};
        to[static_cast<std::size_t>(n)].kind = kind;
        to[static_cast<std::size_t>(n++)].tx = static_cast<u8>(tx);
    };
    if (!alive_) add(Kind::start);
    bool dirty = false;
    for (int i = 0; i < count_; ++i) {
        const Trans& t = trans(i);
        const Active& a = t.active;
        if (ready(t)) add(Kind::load, i);
        if (a.present && !a.reload && a.wake && *a.wake <= now_) add(Kind::timer, i);
        dirty = dirty || writable(t);
        if (t.row.aside)
            add(t.row.paused ? Kind::resume : Kind::retry_now, i);  // dtm.attention brings a person
        switch (t.client) {
            case Client::idle:
                add(Kind::begin, i);
                break;
            case Client::open:
                add(Kind::commit, i);
                break;
            case Client::prepared:
                if (!t.shape->two_phase()) {
                    add(t.shape->message() ? Kind::local_commit : Kind::submit, i);
                    break;
                }
                if (t.registered < t.shape->count()) add(Kind::enroll, i);
                if (untried(t) >= 0) add(Kind::try_first, i);
                if (all_tried(t)) add(Kind::submit, i);
                break;
            case Client::committed:
                add(Kind::submit, i);
                break;
            case Client::gone:
                break;
        }
    }
    if (dirty) add(Kind::settle);
    for (int i = 0; i < call_count_; ++i) {
        const Call& c = call(i);
        to[static_cast<std::size_t>(n++)] = {
            c.answered ? Kind::answer : Kind::arrive, c.tx, c.branch, c.op, c.ordinal, 0};
    }
    if (n == 0)
        if (const auto next = next_event()) {
            add(Kind::tick);
            const long long wait = std::min<long long>((*next - now_).count(), UINT32_MAX);
            to[0].amount = static_cast<std::uint32_t>(wait);
        }
    return n;
}

bool World::fits(const Step& s, const Call& c) const {
    switch (s.kind) {
        case Kind::answer:
        case Kind::lost_answer:
            return c.answered && c.awaited;
        case Kind::arrive:
            return !c.answered;
        case Kind::refuse:
            return !c.answered && c.awaited && can_refuse(c);
        case Kind::ongoing:
        case Kind::error:
        case Kind::deferred:
        case Kind::timeout:
            return !c.answered && c.awaited;
        case Kind::duplicate:
            return !c.answered && call_count_ < kMaxCalls / 2;
        case Kind::late_answer:
            return !c.answered && !c.awaited;
        default:
            return false;
    }
}

int World::find_call(const Step& s) const {
    int oldest = -1;
    for (int i = 0; i < call_count_; ++i) {
        const Call& c = call(i);
        if (c.tx != s.tx || c.branch != s.branch || c.op != s.op || !fits(s, c)) continue;
        if (c.ordinal == s.ordinal) return i;
        if (oldest < 0) oldest = i;
    }
    return oldest;
}

bool World::make_call_step(const Step& s) {
    const int found = find_call(s);
    if (found < 0) return false;
    Call& slot = calls_[static_cast<std::size_t>(found)];
    const Call c = slot;
    const auto ended_with = [&](Result r) {
        remove_call(found);
        take_answer(c, r);
    };
    switch (s.kind) {
        case Kind::arrive:
            if (c.awaited) {
                slot.answered = true;
                slot.result = arrive(c);
            } else {
                remove_call(found);
                arrive(c);
            }
            break;
        case Kind::answer:
            ended_with(c.result);
            break;
        case Kind::lost_answer:
        case Kind::error:
            ended_with(Result::error);
            break;
        case Kind::refuse:
            ended_with(Result::failure);
            break;
        case Kind::ongoing:
            ended_with(Result::ongoing);
            break;
        case Kind::deferred:
            ended_with(Result::deferred);
            break;
        case Kind::timeout:
            slot.awaited = false;
            take_answer(c, Result::error);
            break;
        case Kind::duplicate: {
            Call copy = c;
            copy.awaited = false;
            add_call(copy);
            break;
        }
        case Kind::late_answer: {
            remove_call(found);
            const Result result = arrive(c);
            take_answer(c, result);
            break;
        }
        default:
            return false;
    }
    return true;
}

bool World::apply(const Step& s) {
    if (s.tx >= count_) return false;
    return make(s);
}

bool World::make(const Step& s) {
    Trans& t = at(s.tx);
    switch (s.kind) {
        case Kind::start:
            if (alive_) return false;
            alive_ = true;
            ++life_;
            next_active_ = 1;
            return true;
        case Kind::load:
            return load(t);
        case Kind::timer: {
            Active& a = t.active;
            if (!alive_ || !a.present || a.reload || !a.wake || *a.wake > now_) return false;
            a.wake.reset();
            a.resting_until.reset();
            decide(t, core::Timer{});
            let_go_if_idle(t);
            return true;
        }
        case Kind::settle:
        case Kind::settle_lost:
        case Kind::settle_then_crash:
            return settle(0, s.kind);
        case Kind::settle_locked:
            return settle(s.amount, s.kind);
        case Kind::tick:
            now_ += core::Micros{s.amount};
            return s.amount > 0;
        case Kind::crash:
            if (!alive_) return false;
            forget_everything();
            return true;
        case Kind::put_aside:
            return put_aside(t);
        case Kind::rest:
            if (!alive_ || !writable(t)) return false;
            t.active.resting_until = now_ + core::Seconds{60};
            t.active.wake = t.active.resting_until;
            return true;
        case Kind::hint_lost:
            return std::exchange(t.hinted, false);
        case Kind::retry_now:
            return retry_now(t);
        case Kind::force_stop:
            return force_stop(t);
        case Kind::skip:
            return skip(t, s.branch);
        case Kind::pause:
            return pause(t);
        case Kind::late_try:
            return late_try(t, s.branch);
        case Kind::resume:
            return resume(t);
        case Kind::begin:
        case Kind::commit:
        case Kind::local_commit:
        case Kind::enroll:
        case Kind::try_first:
        case Kind::submit:
        case Kind::roll_back:
        case Kind::client_dies:
        case Kind::client_aborts:
        case Kind::resubmit:
            return client_step(t, s.kind);
        default:
            return make_call_step(s);
    }
}

}  // namespace sim
