// See actives.hpp.
#include "worker/actives.hpp"

#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "pg/time.hpp"
#include "wire/branch_call.hpp"
#include "wire/stored.hpp"
#include "wire/text.hpp"
#include "worker/call_id.hpp"
#include "worker/memory.hpp"

extern "C" {
#include "access/transam.h"
}

#include <algorithm>
#include <limits>
#include <utility>

namespace dtm::worker {
namespace {

// How long a call to a paused host stays away: dtm_resume() tells nobody who waits for one.
// Each that comes back in vain costs a write of its row: so many, and no more.
constexpr std::chrono::seconds pause_look{10};
constexpr std::chrono::microseconds slot_width{500};

// Of the latest; hosts that are forgotten and die again are new ones.
constexpr std::size_t max_outages_told = 10000;

// What is kept of an answer while there is no room for more.
constexpr std::size_t short_reason = 128;

constexpr std::uint64_t alert_call = 0;  // transactions count from 1
constexpr std::uint64_t last_call = std::numeric_limits<std::uint64_t>::max();

// A row that says nothing and was not just inserted admits every action. That is more than what
// happened where a client has submitted or aborted it in this life, and costs nothing: a message
// has no way back, tcc and xa undo all of their branches anyway, and a saga that is prepared says
// how far it is.
core::State state_of(const store::Row& row, const core::Request& request, TransactionId first_xid) {
    const bool born_here =
        row.version == 1 && TransactionIdFollowsOrEquals(row.xmin, first_xid) && !row.progress;
    return born_here ? core::initial_state(request, row.status, row.create_time)
                     : store::state_of(row, request);
}

hub::Counter counter_of(core::Result result) {
    switch (result) {
        case core::Result::success:
            return hub::Counter::answers_success;
        case core::Result::failure:
            return hub::Counter::answers_failure;
        case core::Result::ongoing:
            return hub::Counter::answers_ongoing;
        case core::Result::error:
        case core::Result::deferred:
            break;
    }
    return hub::Counter::answers_error;
}

}  // namespace

void Actives::add(const store::Row& row, TransactionId first_xid, std::optional<hub::Wish> wish,
                  core::Time now) {
    if (by_gid_.contains(row.gid)) return;
    auto a = std::make_unique<Active>();
    a->request = std::make_shared<core::Request>(store::request_of(row));
    a->state = state_of(row, *a->request, first_xid);
    a->version = row.version;
    a->silent = !row.progress;
    a->insisting = wish.has_value();
    Active& kept = keep(std::move(a));
    decide(kept, core::Loaded{row.next_cron_time && *row.next_cron_time <= now}, now);
    if (wish == hub::Wish::hurry) return hurry(kept, now);
    let_go_if_idle(kept, now);
}

void Actives::add(const store::CommandResult& written, core::Time now) {
    auto a = std::make_unique<Active>();
    a->request = written.request;
    a->state = core::initial_state(*a->request, written.status, written.create_time);
    a->state.rollback_reason = written.rollback_reason;
    a->version = written.version;
    a->silent = written.silent;
    Active& kept = keep(std::move(a));
    decide(kept, core::Loaded{}, now);
    let_go_if_idle(kept, now);
}

std::optional<core::Outcome> Actives::waiting_since(const store::Row& row) {
    if (!row.progress) return std::nullopt;
    const core::Request request = store::request_of(row);
    core::State state;
    wire::decode_progress(request, *row.progress, state);
    const core::OpState* waiting = nullptr;
    for (const auto& b : state.branches) {
        for (const core::OpState* op : {&b.action, &b.compensate}) {
            if (op->next) waiting = op;
        }
    }
    if (waiting == nullptr) return std::nullopt;
    core::Outcome outcome{core::Result::ongoing, core::last_word(*waiting), {}};
    if (waiting->errors > 0) outcome.result = core::Result::error;
    if (waiting->kept_back) outcome.result = core::Result::deferred;
    return outcome;
}

Active& Actives::keep(std::unique_ptr<Active> a) {
    a->bytes = sizeof *a + memory_of(*a->request) + memory_of(a->state);
    bytes_ += a->bytes;
    a->id = next_id_++;
    Active& kept = *a;
    by_id_.emplace(kept.id, std::move(a));
    by_gid_.emplace(kept.request->gid, &kept);
    alarms_.cancel(kept.gid());
    return kept;
}

void Actives::count_branch(const Active& a, std::uint32_t branch, core::Op op, bool ok) {
    if (server_ == nullptr || op == core::Op::query) return;
    server_->metrics().branch(a.request->type, a.request->branches[branch].branch_id,
                              wire::op_name(*a.request, op), ok);
}

void Actives::round_over(const Active& a) {
    if (server_ == nullptr) return;
    const bool good = a.state.status == core::Status::succeed;
    server_->metrics().round(a.request->type, good, pg::now() - a.state.create_time);
    if (!server_->is_awaited(a.gid())) return;
    server::RoundEnd end;
    end.gid = a.gid();
    end.type = a.request->type;
    end.status = a.state.status;
    end.rollback_reason = a.state.rollback_reason;
    end.last = a.last;
    end.version = a.version;
    server_->round_over(end);
}

Active* Actives::ended(std::uint64_t call) {
    if (const auto out = calls_.extract(call)) bytes_ -= out.mapped();
    const auto active = by_id_.find(CallId::unpack(call).active);
    if (active == by_id_.end()) return nullptr;  // it was put aside in the meantime
    Active& a = *active->second;
    --a.in_flight;
    return &a;
}

void Actives::take(Active& a, std::uint64_t call, core::Outcome&& outcome, core::Time now) {
    if (a.reload) return changed_by_others(a);
    const CallId id = CallId::unpack(call);
    // Answers make what is held grow, and it was let in without them. What is cut is for people.
    if (bytes_ >= max_bytes && outcome.result != core::Result::failure) {
        outcome.reason = wire::printable(outcome.reason, short_reason);
    }
    decide(a, core::Answer{id.branch, id.op, std::move(outcome)}, now);
    let_go_if_idle(a, now);
}

void Actives::answer(net::Reply&& reply, core::Time now) {
    if (reply.id == alert_call) return;
    Active* a = ended(reply.id);
    if (a == nullptr) return;
    core::Outcome outcome;
    if (reply.recalled) {
        if (a->reload) return changed_by_others(*a);
        a->insisting = a->insisting || reply.probe;
        const CallId id = CallId::unpack(reply.id);
        const core::Call again[] = {{id.branch, id.op}};
        return release(*a, again);  // judged again by the orders of today
    }
    if (reply.deferred) {
        if (reply.outage) tell_of_outage(*a, reply.id, *reply.outage);
        outcome = {core::Result::deferred, std::move(reply.error), now + *reply.deferred,
                   reply.outage ? core::Hold::breaker : core::Hold::crowd};
        return take(*a, reply.id, std::move(outcome), now);
    }
    const CallId id = CallId::unpack(reply.id);
    if (reply.status == 0) {
        outcome = {core::Result::error, std::move(reply.error), {}};
    } else {
        outcome = wire::classify(*a->request, id.branch, id.op, reply.status, reply.body);
    }
    count_branch(*a, id.branch, id.op, outcome.result == core::Result::success);
    hub::count(counter_of(outcome.result));
    take(*a, reply.id, std::move(outcome), now);
}

void Actives::answer_undelivered(core::Time now) {
    for (Undelivered& u : std::exchange(undelivered_, {})) {
        if (Active* a = ended(u.call)) {
            take(*a, u.call,
                 {core::Result::deferred, std::move(u.why), u.not_before, core::Hold::pause}, now);
        }
    }
}

std::vector<std::string> Actives::expire(core::Time now, std::size_t max) {
    std::vector<std::uint64_t> over;
    for (auto t = timers_.begin(); t != timers_.end() && t->first <= now; ++t)
        over.push_back(t->second);
    for (std::uint64_t id : over) {
        Active& a = *by_id_.at(id);
        set_wake(a, std::nullopt);
        a.resting_until.reset();
        if (a.reload) continue;
        decide(a, core::Timer{}, now);
        let_go_if_idle(a, now);
    }
    return alarms_.take(now, max);
}

Active* Actives::find(std::string_view gid) {
    const auto found = by_gid_.find(gid);
    return found == by_gid_.end() ? nullptr : found->second;
}

void Actives::decide(Active& a, const core::Event& event, core::Time now) {
    const auto* answer = std::get_if<core::Answer>(&event);
    const std::size_t before = memory_of_words(a.state, a.last, answer);
    if (answer && answer->outcome.result != core::Result::success) a.last = answer->outcome;
    absorb(a, core::decide(*a.request, std::move(a.state), event, now, hub::policy()));
    const std::size_t grown = memory_of_words(a.state, a.last, answer) - before;
    a.bytes += grown;
    bytes_ += grown;
}

void Actives::absorb(Active& a, core::Decision&& decision) {
    a.state = std::move(decision.state);
    if (decision.write != core::Write::none) {
        if (!a.listed) dirty_.push_back(a.id);
        a.listed = true;
        a.dirty = std::max(a.dirty, decision.write);
    }
    // Flush before the dependent call (design 7.3); once one call waits, the later ones do, too.
    if (a.dirty == core::Write::flush) {
        a.held.insert(a.held.end(), decision.calls.begin(), decision.calls.end());
    } else {
        release(a, decision.calls);
    }
    if (!a.resting_until) set_wake(a, decision.wake);
    for (const core::Alert& alert : decision.alerts) send_alert(a, alert);
}

// Each keeps the whole transaction, and none of them keeps it alone.
void Actives::release(Active& a, std::span<const core::Call> calls) {
    const std::size_t share = a.bytes / (a.in_flight + std::max<std::size_t>(calls.size(), 1));
    for (const core::Call& call : calls) release(a, call, share);
}

void Actives::release(Active& a, const core::Call& call, std::size_t share) {
    wire::BranchCall made = wire::branch_call(a.request, call.branch, call.op, hub::policy());
    net::Call out;
    out.id = CallId{a.id, call.branch, call.op}.pack();
    out.post = made.post;
    out.url = std::move(made.url);
    out.body = made.body;
    out.keep = std::move(made.keep);
    // On its way it is in one list and in the next, and it comes back as a reply.
    std::size_t own = 2 * sizeof out + sizeof(net::Reply) + out.url.size();
    if (out.keep != a.request) own += out.body.size();
    bytes_ += own;
    calls_.emplace(out.id, own);
    out.bytes = share + own;
    out.headers = std::move(made.headers);
    out.timeout = made.timeout;
    out.urgent = a.begun || a.state.status == core::Status::aborting;
    out.probe = std::exchange(a.insisting, false);
    a.begun = true;
    ++a.in_flight;
    orders_.redirect(out.url);
    if (const auto why = orders_.paused(out.url)) {
        const auto steady = std::chrono::steady_clock::now();
        pause_slot_ = std::max(steady + pause_look, pause_slot_ + slot_width);
        const auto wait = std::chrono::duration_cast<core::Micros>(pause_slot_ - steady);
        undelivered_.push_back({out.id, *why, pg::now() + wait});
        return;
    }
    outbox_.push_back(std::move(out));
}

std::vector<net::Call> Actives::take_doubted() {
    std::vector<net::Call> doubted;
    std::erase_if(outbox_, [&](net::Call& call) {
        const auto found = by_id_.find(CallId::unpack(call.id).active);
        if (found == by_id_.end() || !found->second->doubted) return false;
        doubted.push_back(std::move(call));
        return true;
    });
    return doubted;
}

// What has not left is not in flight.
void Actives::take_back(const Active& a) {
    if (a.in_flight == 0) return;
    std::erase_if(outbox_, [&](const net::Call& call) {
        if (CallId::unpack(call.id).active != a.id) return false;
        ended(call.id);
        return true;
    });
}

void Actives::recall(const Active& a) {
    if (a.in_flight == 0) return;
    recalls_.push_back(
        {CallId{a.id, 0, core::Op{}}.pack(), CallId{a.id + 1, 0, core::Op{}}.pack() - 1});
}

// What waits to leave, here and in the network thread, was judged by the old ones.
void Actives::set_orders(Orders orders) {
    if (orders == orders_) return;
    orders_ = std::move(orders);
    if (!orders_.any_pause()) pause_slot_ = {};
    for (net::Call& call : std::exchange(outbox_, {})) {
        if (call.id == alert_call) {
            outbox_.push_back(std::move(call));
            continue;
        }
        net::Reply back;
        back.id = call.id;
        back.recalled = true;
        back.probe = call.probe;
        answer(std::move(back), {});
    }
    if (!calls_.empty()) recalls_.push_back({alert_call + 1, last_call});
}

// With the breaker open few of its transactions are called, and each of them rarely: their own
// errors would tell nobody for hours.
void Actives::tell_of_outage(const Active& a, std::uint64_t call, const net::Outage& outage) {
    const auto limit = static_cast<std::uint32_t>(hub::settings.alert_retry_limit);
    if (limit == 0 || outage.errors_in_a_row < limit) return;
    if (!outages_told_.insert(outage.number).second) return;
    if (outages_told_.size() > max_outages_told) outages_told_.erase(outages_told_.begin());
    const CallId id = CallId::unpack(call);
    send_alert(a, {id.branch, id.op, outage.errors_in_a_row,
                   outage.host + " answers nobody: " + outage.last_error});
}

void Actives::send_alert(const Active& a, const core::Alert& alert) {
    hub::count(hub::Counter::alerts);
    const char* url = hub::settings.alert_webhook;
    if (!hub::is_set(url)) return;
    auto body = std::make_shared<std::string>(wire::alert_body(
        a.gid(), a.state.status, wire::branch_url(*a.request, alert.branch, alert.op), alert.error,
        alert.retry_count));
    net::Call out;
    out.id = alert_call;
    out.post = true;
    out.url = url;
    out.body = *body;
    out.keep = std::move(body);
    static const net::Headers json = std::make_shared<const std::vector<std::string>>(
        std::vector<std::string>{"Content-Type: application/json"});
    out.headers = json;
    out.timeout = core::Seconds{hub::settings.request_timeout_s};
    outbox_.push_back(std::move(out));
}

void Actives::set_wake(Active& a, std::optional<core::Time> at) {
    if (a.wake == at) return;
    if (a.wake) timers_.erase({*a.wake, a.id});
    if (at) timers_.insert({*at, a.id});
    a.wake = at;
}

void Actives::let_go_if_idle(Active& a, core::Time now) {
    if (a.in_flight > 0 || a.dirty != core::Write::none || !a.held.empty()) return;
    if (a.wake && *a.wake <= now) return;  // its timer is over with the next turn
    round_over(a);
    if (a.wake) alarms_.set(a.gid(), *a.wake);
    forget(a);
}

void Actives::rest(Active& a, core::Time until) {
    a.resting_until = until;
    set_wake(a, until);
}

void Actives::end_rest(Active& a, core::Time now) {
    if (a.resting_until) set_wake(a, now);  // its timer is over with the next turn
}

void Actives::hurry(Active& a, core::Time now) {
    end_rest(a, now);
    a.insisting = a.insisting || core::anything_waits(*a.request, a.state, now);
    decide(a, core::Hurry{}, now);
    let_go_if_idle(a, now);
}

void Actives::defer(Active& a) {
    a.deferred = true;
    std::erase(dirty_, a.id);
    dirty_.push_back(a.id);
}

std::vector<Active*> Actives::dirty() {
    std::vector<Active*> all;
    std::erase_if(dirty_, [&](std::uint64_t id) {
        const auto found = by_id_.find(id);
        if (found == by_id_.end()) return true;
        found->second->listed = found->second->dirty != core::Write::none;
        return !found->second->listed;
    });
    all.reserve(dirty_.size());
    for (std::uint64_t id : dirty_) {
        Active* a = by_id_.find(id)->second.get();
        if (!a->reload && !a->resting_until) all.push_back(a);
    }
    return all;
}

void Actives::settled(Active& a, core::Time now) {
    ++a.version;
    a.dirty = core::Write::none;
    a.deferred = false;
    a.rest_time = {};
    if (core::is_final(a.state.status)) {
        hub::count(a.state.status == core::Status::succeed ? hub::Counter::succeeded
                                                           : hub::Counter::failed);
        hub::announce_finished(a.gid());
        DTM_CRASH_POINT("worker.end_announced");
        round_over(a);
        forget(a);
        return;
    }
    if (a.state.outdated) return changed_by_others(a);  // by clients who registered branches
    a.silent = false;
    std::vector<core::Call> held;
    held.swap(a.held);
    release(a, held);
    let_go_if_idle(a, now);
}

void Actives::changed_by_others(Active& a) {
    if (!a.reload) {
        take_back(a);
        recall(a);
    }
    a.reload = true;
    a.held.clear();
    if (a.in_flight > 0) return;  // wait for them: nothing of it may be called twice at a time
    reloadable_.push_back(a.gid());
    forget(a);
}

std::vector<std::string> Actives::take_reloadable() {
    std::vector<std::string> gids;
    gids.swap(reloadable_);
    return gids;
}

void Actives::forget(Active& a) {
    take_back(a);  // of one that is put aside
    recall(a);
    const std::uint64_t id = a.id;
    set_wake(a, std::nullopt);
    bytes_ -= a.bytes;
    by_gid_.erase(a.gid());
    by_id_.erase(id);
}

void Actives::put_aside(Active& a, const std::string& why) {
    if (server_ != nullptr) {
        server::RoundEnd end;  // not with the state that could not be written
        end.gid = a.gid();
        end.type = a.request->type;
        end.last = {core::Result::error, why, {}};
        server_->round_over(end);
    }
    forget(a);
}

std::optional<core::Time> Actives::next_wake() const {
    if (timers_.empty()) return std::nullopt;
    return timers_.begin()->first;
}

std::vector<std::string> Actives::gids() const {
    std::vector<std::string> all;
    all.reserve(by_gid_.size());
    for (const auto& [gid, a] : by_gid_) {
        if (!a->reload) all.emplace_back(gid);
    }
    return all;
}

}  // namespace dtm::worker
