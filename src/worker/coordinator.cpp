// See coordinator.hpp. The order inside a turn is the argument for P5: a decision that needs a
// flush holds its calls back (Actives), the settle commits, and only committed() lets them go.
#include "worker/coordinator.hpp"

#include "crash_point.hpp"
#include "hub/endpoints.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "pg/session.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "store/control.hpp"
#include "worker/belonging.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/transam.h"
}

#include <algorithm>
#include <utility>

namespace dtm::worker {
namespace {

constexpr std::size_t max_load = 1000;  // rows per turn: bounds the turn, not the throughput
// Hints about transactions for which there is no room yet; the sweep finds those of the others.
constexpr std::size_t max_hints = 4096;
constexpr core::Seconds look_around_every{5};
// As long as a look may wait for a lock, so that half of the time is left for the rest.
constexpr std::chrono::milliseconds reading_rest{500};
// Of rows that are read alone: how long each may wait for a lock, and how many of them in a turn.
constexpr std::chrono::milliseconds short_wait{20};
constexpr std::size_t most_locked = 20;
// How long a row is left alone that the disk did not give, and one that can be neither read nor
// marked.
constexpr std::chrono::seconds rest_after_disk{5};
constexpr std::chrono::seconds rest_after_all{60};

net::Settings net_settings() {
    net::Settings s;
    s.max_in_flight = static_cast<std::uint32_t>(hub::settings.max_in_flight);
    s.max_in_flight_per_host = static_cast<std::uint32_t>(hub::settings.max_in_flight_per_host);
    s.max_held = static_cast<std::uint32_t>(hub::settings.max_active);
    s.max_held_bytes = Actives::max_bytes;
    s.breaker_errors = static_cast<std::uint32_t>(hub::settings.breaker_errors);
    s.breaker_longest = std::chrono::seconds{hub::settings.breaker_max_interval_s};
    return s;
}

TransactionId next_xid() {
#if PG_VERSION_NUM >= 140000
    return ReadNextTransactionId();
#else
    return ReadNewTransactionId();
#endif
}

}  // namespace

Coordinator::Coordinator(int worker, int workers)
    : worker_(worker),
      workers_(workers),
      first_xid_(next_xid()),
      client_(std::make_unique<net::Client>(net_settings())),
      sweep_(actives_, worker, workers) {}

void Coordinator::configure() {
    client_->configure(net_settings());
    sweep_.hurry();
    api_known_ = false;
}

void Coordinator::stop() noexcept { client_.reset(); }

std::size_t Coordinator::room() const {
    if (silent()) return 0;
    const auto limit = static_cast<std::size_t>(hub::settings.max_active);
    if (actives_.size() >= limit || actives_.bytes() >= Actives::max_bytes) return 0;
    return limit - actives_.size();
}

bool Coordinator::reading_rests(core::Time now) const {
    return reading_rests_until_ && now < *reading_rests_until_ &&
           *reading_rests_until_ - now <= reading_rest;
}

long Coordinator::idle_ms() const {
    if (const core::Time now = pg::now(); reading_rests(now)) {
        if (taken_up_ || (server_ && server_->anything_to_do()) || settler_.more()) return 0;
        const core::Time until =
            std::min(*reading_rests_until_, api_due(now).value_or(now + reading_rest));
        return std::clamp<long>(std::chrono::ceil<std::chrono::milliseconds>(until - now).count(),
                                0, 1000);
    }
    if (taken_up_ || !touched_.empty() || (server_ && server_->anything_to_do())) return 0;
    if (settler_.more() || actives_.anything_reloadable() || actives_.anything_undelivered()) {
        return 0;
    }
    const core::Time now = pg::now();
    if (hub::anything_announced() || hub::control_changed()) return 0;
    if (!doubted_.empty() && again_.empty()) return 0;
    if (sweep_.due(now, room()) || (room() > 0 && !hints_.empty())) return 0;
    core::Time until = std::min<core::Time>(sweep_.next_look(now), now + core::Seconds{1});
    if (const auto due = api_due(now)) until = std::min(until, *due);
    if (!again_.empty()) until = std::min(until, now + std::chrono::milliseconds{100});
    if (const auto wake = actives_.next_wake()) until = std::min(until, *wake);
    if (const auto alarm = actives_.next_alarm(); alarm && room() > 0)
        until = std::min(until, *alarm);
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(until - now).count();
    return std::clamp<long>(ms, 0, 1000);
}

void Coordinator::take_answers(core::Time now) {
    replies_.clear();
    client_->drain(replies_);
    if (!replies_.empty()) DTM_CRASH_POINT("worker.answers_taken");
    for (net::Reply& reply : replies_) actives_.answer(std::move(reply), now);
    actives_.answer_undelivered(now);
}

void Coordinator::look_around(core::Time now) {
    control_changed_ = hub::take_control_changed() || control_changed_;
    const bool due =
        !looked_around_ || now < *looked_around_ || now - *looked_around_ >= look_around_every;
    if (!control_changed_ && !due) return;
    store::Belonging belonging;
    store::Control control;
    pg::in_transaction([&] {
        belonging = look_where_we_are();
        database_ = database_name();
        // Another installation: it was adopted, or more was imported, since the row was found.
        const bool unchanged = belonging.installed == installed_;
        if (restored_ && unchanged && !belonging.foreign) {
            store::mark_foreign(belonging.adopted);
            belonging.foreign = foreign_;
            DTM_CRASH_POINT("worker.dump_marked");
        }
        control = store::control();
    });
    DTM_CRASH_POINT("worker.looked_around");
    looked_around_ = now;
    installed_ = belonging.installed;
    note_adoption(belonging.adopted);
    if (belonging.foreign) become_foreign(*belonging.foreign);
    restored_ = false;
    const bool adopted = foreign_ && !belonging.foreign;
    if (adopted) {
        foreign_.reset();
        pg::log(LOG, "dtm coordinator works: the transactions of database " + database_ +
                         " were adopted");
    }
    paused_ = control.everything_paused.has_value();
    if (foreign_) control.everything_paused = "silent: " + *foreign_;
    actives_.set_orders(Orders(std::move(control)));
    if (adopted) sweep_.look_at_all();
    if (std::exchange(control_changed_, false) || adopted) sweep_.hurry();
}

void Coordinator::become_foreign(const std::string& why) {
    if (foreign_) return;
    foreign_ = why;
    looked_around_.reset();    // what is in memory stops in the next turn
    if (worker_ != 0) return;  // one of them says so
    pg::log(WARNING, "dtm coordinator of database " + database_ + " calls nobody: " + why,
            "Whoever owns these transactions may be calling the same services.",
            "Run SELECT dtm_adopt() in database " + database_ +
                " when its transactions shall go on here.");
}

// A restore inserts rows anew that others have worked on, and whoever adopts them may have done so
// before anybody looked.
void Coordinator::note_adoption(core::Time adopted) {
    if (adopted_ && *adopted_ != adopted) first_xid_ = next_xid();
    adopted_ = adopted;
}

void Coordinator::show_endpoints(core::Time now) {
    if (endpoints_shown_ && now >= *endpoints_shown_ && now - *endpoints_shown_ < core::Seconds{1})
        return;
    endpoints_shown_ = now;
    std::vector<hub::EndpointInfo> all;
    for (net::Endpoint& e : client_->endpoints()) {
        if (all.size() == hub::max_endpoints) break;
        hub::EndpointInfo info;
        info.endpoint = std::move(e.key);
        info.breaker = net::to_string(e.breaker);
        info.in_flight = e.in_flight;
        info.waiting = e.waiting;
        info.calls = e.calls;
        info.errors = e.errors;
        info.deferred = e.deferred;
        info.errors_in_a_row = e.errors_in_a_row;
        info.next_probe_ms = e.next_probe.count();
        info.mean_us = e.mean_elapsed.count();
        info.last_error = std::move(e.last_error);
        all.push_back(std::move(info));
    }
    hub::publish_endpoints(all);
}

// Also when there is no room: a verb may be about a transaction that takes it.
void Coordinator::hear() {
    std::vector<hub::Announced> heard;
    if (hub::take_announced(heard, max_hints)) {
        hub::count(hub::Counter::ring_overflows);
        sweep_.hints_were_lost();
    }
    hub::count(hub::Counter::taken_from_ring, heard.size());
    if (to_hurry_.size() >= 2 * max_hints) to_hurry_.clear();  // of rows that are gone
    for (auto& [gid, wish] : heard) {
        if (wish == hub::Wish::hurry) to_hurry_.insert(gid);
        if (Active* a = actives_.find(gid)) {
            a->doubted = true;
            doubted_.insert(std::move(gid));
        } else if (hints_.size() < max_hints) {
            hints_.push_back(std::move(gid));
        } else {
            sweep_.look_at_all();
        }
    }
}

std::vector<std::string> Coordinator::to_load(core::Time now) {
    const std::size_t room_now = std::min(room(), max_load);
    if (room_now > 0) ++turns_;  // odd places go round
    // New work must not keep waiting what waits in the table, or that would never end (P8).
    const std::size_t swept = sweep_.behind() ? (room_now + turns_ % 2) / 2 : 0;
    const std::size_t limit = room_now - swept;
    // Retries take half of the others at most: those of a dead host must not keep new work out.
    std::vector<std::string> gids = actives_.expire(now, (limit + turns_ / 2 % 2) / 2);
    asked_for_.clear();
    for (std::string& gid : again_) gids.push_back(std::move(gid));
    again_.clear();
    for (std::string& gid : touched_) {
        asked_for_.insert(gid);
        gids.push_back(std::move(gid));
    }
    touched_.clear();
    // Rows that were read again make no new room necessary: they were here already.
    const std::size_t before = gids.size();
    for (std::string& gid : actives_.take_reloadable()) gids.push_back(std::move(gid));
    gids.insert(gids.end(), doubted_.begin(), doubted_.end());
    while (gids.size() < limit && !hints_.empty()) {
        gids.push_back(std::move(hints_.front()));
        hints_.pop_front();
    }
    asked_for_.insert(gids.begin() + static_cast<std::ptrdiff_t>(before), gids.end());
    return gids;
}

void Coordinator::load(const std::vector<std::string>& gids, core::Time now) {
    if (gids.empty()) return;
    loading_ = gids;
    // Without room the rest waits, but for what is here already: somebody has changed it.
    const auto wanted = [&](std::string_view gid) {
        if (actives_.bytes() < Actives::max_bytes || actives_.find(gid) != nullptr) return true;
        sweep_.put_back(std::string(gid));
        return false;
    };
    store::load(gids, wanted, [&](const store::Row& row) { accept(row, now); });
    loading_.clear();
    for (const std::string& gid : gids) distrust(gid);
    DTM_CRASH_POINT("worker.rows_loaded");
}

void Coordinator::distrust(const std::string& gid) {
    if (doubted_.erase(gid) == 0) return;
    if (Active* a = actives_.find(gid)) actives_.changed_by_others(*a);
}

// A restored dump brings its identity before its transactions. So it is asked for after they are
// seen and before they are called.
void Coordinator::load_due(core::Time now) {
    sweep_.compare(now);
    const std::vector<std::string> gids = sweep_.take(now, std::min(room(), max_load));
    if (gids.empty()) return;
    const store::Belonging belonging = look_where_we_are();
    note_adoption(belonging.adopted);
    if (belonging.foreign) return become_foreign(*belonging.foreign);
    load(gids, now);
}

void Coordinator::accept(const store::Row& row, core::Time now) {
    ++rows_read_;
    if (!unread_.empty()) unread_.erase(row.gid);
    // An operator may have ended it, whatever is still in flight.
    const bool over = core::is_final(row.status);
    if (over) hub::announce_finished(row.gid);
    if (server_ && (over || row.attention || row.unreadable)) tell_who_waits(row);
    doubted_.erase(row.gid);
    if (Active* a = actives_.find(row.gid)) {
        a->doubted = false;
        if (a->reload) return;  // what it shall hurry it hears when it was read again
        if (a->version != row.version) {
            actives_.changed_by_others(*a);
        } else if (to_hurry_.erase(row.gid) > 0) {
            actives_.hurry(*a, now);
        } else {
            actives_.end_rest(*a, now);  // somebody asks for it
        }
        return;
    }
    const bool hurry = to_hurry_.erase(row.gid) > 0;
    if (row.unreadable) unreadable_.push_back({row.gid, row.version, *row.unreadable});
    if (over || row.attention || row.unreadable) return;
    if (workers_ > 1 && hub::slice_of(row.gid, workers_) != worker_) return;
    // What dtm_import() has brought is older, and was admitted by the commit that brought it; what
    // was submitted by a clock that was set back is admitted by this look.
    if (!foreign_ && row.create_time < installed_) {
        const store::Belonging belonging = look_where_we_are();
        installed_ = belonging.installed;
        note_adoption(belonging.adopted);
        if (belonging.foreign) become_foreign(*belonging.foreign);
    }
    if (!foreign_ && row.create_time < installed_) {
        // Restored without the identity, or before it.
        become_foreign("it has transactions from before the extension was installed here");
        restored_ = true;
    }
    if (silent()) {
        if (hurry) to_hurry_.insert(row.gid);  // when somebody may be called again
        return;
    }
    try {
        // A session that names a row which was written before is an operator's (dtm_retry_now).
        std::optional<hub::Wish> wish;
        if (row.version > 1 && asked_for_.contains(row.gid)) wish = hub::Wish::look;
        actives_.add(row, first_xid_, hurry ? hub::Wish::hurry : wish, now);
    } catch (const std::runtime_error& e) {
        unreadable_.push_back({row.gid, row.version, e.what()});
    }
}

// A row that cannot even be fetched (a damaged page, a table of somebody's that is locked) must not
// hide those read with it.
void Coordinator::load_one_by_one(const std::vector<std::string>& gids, core::Time now) {
    const std::uint64_t read_before = rows_read_;
    std::vector<Unreadable> unread;
    std::vector<std::string> locked;
    for (auto gid = gids.begin(); gid != gids.end(); ++gid) {
        try {
            pg::in_transaction([&] {
                const pg::LockTimeout timeout(short_wait);
                if (const auto row = store::load_one(*gid)) accept(*row, now);
            });
        } catch (const pg::PgError& error) {
            const Settler::Blame blame = Settler::blame_of(error);
            if (blame == Settler::Blame::row || blame == Settler::Blame::disk) {
                auto& list = blame == Settler::Blame::row ? unreadable_ : unread;
                list.push_back({*gid, 0, error.what()});
                distrust(*gid);
                continue;
            }
            if (blame == Settler::Blame::everything) {
                again_.assign(gid, gids.end());
                throw;
            }
            locked.push_back(*gid);
            if (locked.size() < most_locked) continue;
            again_.assign(gid + 1, gids.end());
            break;
        }
    }
    again_.insert(again_.end(), locked.begin(), locked.end());  // behind those not tried
    judge_unread(unread, read_before);
}

// Where others can be read it is no trouble of all. Nobody needs to be told of them again: the
// sweep finds them when they can be read.
void Coordinator::judge_unread(std::span<const Unreadable> unread, std::uint64_t read_before) {
    if (unread_.size() >= max_load) unread_.clear();
    for (const Unreadable& u : unread) {
        const auto [first, is_first] = unread_.try_emplace(u.gid, read_before);
        if (rows_read_ > first->second) {
            unreadable_.push_back(u);
            unread_.erase(first);
            continue;
        }
        if (is_first) {
            pg::log(WARNING, "dtm_pg cannot read transaction " + u.gid + " and tries again later",
                    u.why);
        }
        sweep_.leave_alone(u.gid, rest_after_disk);
    }
}

void Coordinator::put_aside_unreadable() {
    std::vector<Unreadable> rows;
    rows.swap(unreadable_);
    for (const Unreadable& u : rows) {
        pg::log(LOG, "dtm_pg cannot read transaction " + u.gid + " and puts it aside", u.why,
                "See dtm.attention.");
        try {
            pg::in_transaction([&] { store::put_aside(u.gid, u.version, u.why); });
            DTM_CRASH_POINT("worker.unreadable_put_aside");
            hub::count(hub::Counter::attention);
        } catch (const pg::PgError& error) {
            if (Settler::blame_of(error) == Settler::Blame::everything) throw;
            pg::log(WARNING, "dtm_pg cannot mark transaction " + u.gid, error.what());
            sweep_.leave_alone(u.gid, rest_after_all);
        }
    }
}

// Whatever this turn was told, by a session, a client or an answer, may have come after an order:
// nothing leaves before all orders are read, and the next turn does that first. The same holds for
// verbs about single transactions and what leaves for these.
void Coordinator::send() {
    if (hub::control_changed()) return;
    hear();
    std::vector<net::Call> doubted;
    if (!doubted_.empty()) doubted = actives_.take_doubted();
    if (std::vector<net::Call>& outbox = actives_.outbox(); !outbox.empty()) {
        hub::count(hub::Counter::calls, outbox.size());
        DTM_CRASH_POINT("worker.calls_decided");
        client_->submit(outbox);
        DTM_CRASH_POINT("worker.calls_handed_over");
    }
    if (!doubted.empty()) actives_.outbox() = std::move(doubted);
    client_->recall(actives_.recalls());
}

void Coordinator::turn() {
    const core::Time now = pg::now();
    taken_up_ = false;
    look_around(now);
    show_endpoints(now);
    hear();
    take_answers(now);
    look_after_api(now);
    const bool rests = reading_rests(now);
    const std::vector<std::string> announced = rests ? std::vector<std::string>() : to_load(now);
    const bool sweeping = !rests && sweep_.due(now, room());
    send();
    const bool asked = server_ && server_->anything_to_do();
    if (announced.empty() && !sweeping && !asked && actives_.dirty().empty()) {
        if (server_) server_->send();
        hub::set_gauges(static_cast<std::uint32_t>(actives_.size()), actives_.in_flight());
        return;
    }
    const bool whole = database_round(announced, sweeping, now);
    // A synchronous wait that was cancelled leaves an interrupt behind: nothing may be sent then.
    pg::call([] { CHECK_FOR_INTERRUPTS(); });
    if (whole) {
        settler_.committed(pg::now());
        if (server_) server_->committed(pg::now());
    }
    take_up(pg::now());
    send();
    if (server_) server_->send();
    if (!whole) return;
    put_aside_unreadable();
    hub::set_gauges(static_cast<std::uint32_t>(actives_.size()), actives_.in_flight());
}

bool Coordinator::database_round(const std::vector<std::string>& announced, bool sweeping,
                                 core::Time now) {
    const bool apart = std::exchange(settle_apart_, false);
    try {
        pg::in_transaction([&] {
            reading_ = true;
            load(announced, now);
            if (sweeping) load_due(now);
            reading_ = false;
            send();
            if (server_ && !apart && !foreign_) server_->execute(pg::now());
            settler_.write(pg::now());
        });
        return true;
    } catch (const pg::PgError& error) {
        sweep_.look_at_all();  // for what this turn was told about
        const Settler::Blame blame = Settler::blame_of(error);
        const bool locked = blame == Settler::Blame::lock;
        if (std::exchange(reading_, false) && locked)
            reading_rests_until_ = pg::now() + reading_rest;
        if (requests_apart(now, locked)) return false;
        std::vector<std::string> unread;
        unread.swap(loading_);
        if (unread.empty()) {
            settler_.failed(error, now);
        } else if (blame != Settler::Blame::everything) {
            load_one_by_one(unread, now);
            put_aside_unreadable();
        } else {
            again_ = std::move(unread);
            throw;
        }
        return false;
    } catch (const std::exception&) {
        reading_ = false;
        if (!requests_apart(now, false)) throw;
        return false;
    }
}

}  // namespace dtm::worker
