// See coordinator.hpp. The order inside a turn is the argument for P5: a decision that needs a
// flush holds its calls back (Actives), the settle commits, and only committed() lets them go.
#include "worker/coordinator.hpp"

#include "crash_point.hpp"
#include "hub/endpoints.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "store/control.hpp"
#include "worker/belonging.hpp"

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
// A row is due from the clock of its INSERT but visible from its COMMIT. Bounded sweeps look back
// this far; rows of longer transactions that no ring announced wait for the next full sweep.
constexpr core::Seconds look_back{10};
constexpr core::Seconds full_sweep_every{5};

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

// A clock may be set back after the installation. Only for what a session has just submitted: a
// dump may be seconds old when it is restored.
constexpr core::Seconds clock_tolerance{60};

}  // namespace

Coordinator::Coordinator(int worker, int workers)
    : worker_(worker),
      workers_(workers),
      first_xid_(next_xid()),
      client_(std::make_unique<net::Client>(net_settings())) {}

void Coordinator::configure() {
    client_->configure(net_settings());
    sweep_now_ = true;
    api_known_ = false;
}

void Coordinator::stop() noexcept { client_.reset(); }

bool Coordinator::sweep_due(core::Time now) const {
    // When more waits than fits, a sweep passes over all that are in memory already: not for a few.
    const bool hungry = room() > static_cast<std::size_t>(hub::settings.max_active) / 4;
    return (sweep_now_ && hungry) || !last_sweep_ || now < *last_sweep_ ||
           now - *last_sweep_ >= std::chrono::milliseconds{hub::settings.sweep_interval_ms};
}

std::size_t Coordinator::room() const {
    if (silent()) return 0;
    const auto limit = static_cast<std::size_t>(hub::settings.max_active);
    if (actives_.size() >= limit || actives_.bytes() >= Actives::max_bytes) return 0;
    return limit - actives_.size();
}

long Coordinator::idle_ms() const {
    if (taken_up_ || !touched_.empty() || (server_ && server_->anything_to_do())) return 0;
    if (settler_.more() || actives_.anything_reloadable() || actives_.anything_undelivered()) {
        return 0;
    }
    const core::Time now = pg::now();
    if (hub::anything_announced()) return 0;
    if (room() > 0 && (sweep_due(now) || !hints_.empty())) return 0;
    const core::Time sweep_at =
        last_sweep_.value_or(now) + std::chrono::milliseconds{hub::settings.sweep_interval_ms};
    core::Time until = std::min(sweep_at, now + core::Seconds{1});
    if (const auto due = api_due(now)) until = std::min(until, *due);
    if (!again_.empty()) until = std::min(until, now + std::chrono::milliseconds{100});
    if (const auto wake = actives_.next_wake()) until = std::min(until, *wake);
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
    const bool told = hub::take_control_changed();
    const bool due =
        !looked_around_ || now < *looked_around_ || now - *looked_around_ >= full_sweep_every;
    if (!told && !due) return;
    store::Belonging belonging;
    store::Control control;
    {
        pg::Transaction transaction;
        {
            pg::Spi spi;
            belonging = look_where_we_are();
            if (restored_ && !belonging.foreign) {
                store::mark_foreign(belonging.adopted);
                belonging.foreign = foreign_;
                DTM_CRASH_POINT("worker.dump_marked");
            }
            control = store::control();
        }
        transaction.commit();
    }
    DTM_CRASH_POINT("worker.looked_around");
    looked_around_ = now;
    installed_ = belonging.installed;
    if (belonging.foreign) become_foreign(*belonging.foreign);
    restored_ = false;
    const bool adopted = foreign_ && !belonging.foreign;
    if (adopted) {
        foreign_.reset();
        pg::log(LOG, "dtm coordinator works: the transactions of this database were adopted");
    }
    paused_ = control.everything_paused.has_value();
    if (foreign_) control.everything_paused = "silent: " + *foreign_;
    actives_.set_orders(Orders(std::move(control)));
    if (told || adopted) sweep_now_ = true;
}

void Coordinator::become_foreign(const std::string& why) {
    if (foreign_) return;
    foreign_ = why;
    looked_around_.reset();    // what is in memory stops in the next turn
    if (worker_ != 0) return;  // one of them says so
    pg::log(WARNING, "dtm coordinator calls nobody: " + why,
            "Whoever owns these transactions may be calling the same services.",
            "Run SELECT dtm_adopt() in this database when its transactions shall go on here.");
}

void Coordinator::show_endpoints(core::Time now) {
    if (endpoints_shown_ && now >= *endpoints_shown_ && now - *endpoints_shown_ < core::Seconds{1})
        return;
    endpoints_shown_ = now;
    constexpr const char* names[] = {"closed", "open", "half_open"};
    std::vector<hub::EndpointInfo> all;
    for (net::Endpoint& e : client_->endpoints()) {
        if (all.size() == hub::max_endpoints) break;
        hub::EndpointInfo info;
        info.endpoint = std::move(e.key);
        info.breaker = names[static_cast<int>(e.breaker)];
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
void Coordinator::hear(std::vector<std::string>& known) {
    std::vector<std::string> heard;
    bool lost = hub::take_announced(heard, max_hints);
    if (lost) hub::count(hub::Counter::ring_overflows);
    hub::count(hub::Counter::taken_from_ring, heard.size());
    for (std::string& gid : heard) {
        if (actives_.find(gid) != nullptr) {
            known.push_back(std::move(gid));
        } else if (hints_.size() < max_hints) {
            hints_.push_back(std::move(gid));
        } else {
            lost = true;
        }
    }
    if (!lost) return;
    sweep_now_ = true;
    swept_until_.reset();
}

std::vector<std::string> Coordinator::to_load(core::Time now) {
    const std::size_t limit = std::min(room(), max_load);
    // Retries take half of a turn at most: those of a dead host must not keep new work out (P8).
    std::vector<std::string> gids = actives_.expire(now, (limit + 1) / 2);
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
    hear(gids);
    while (gids.size() < limit && !hints_.empty()) {
        gids.push_back(std::move(hints_.front()));
        hints_.pop_front();
    }
    asked_for_.insert(gids.begin() + static_cast<std::ptrdiff_t>(before), gids.end());
    return gids;
}

std::vector<std::string> Coordinator::sweep(core::Time now) {
    last_sweep_ = now;
    sweep_now_ = false;
    if (room() == 0) {
        swept_until_.reset();
        return {};
    }
    std::optional<core::Time> from;
    const bool full = !swept_until_ || !last_full_sweep_ || now < *last_full_sweep_ ||
                      now - *last_full_sweep_ >= full_sweep_every;
    if (full) last_full_sweep_ = now;
    if (!full) from = *swept_until_ - look_back;
    // Those in memory may all be due in the table: look past them, or they hide the rest.
    const std::size_t rows = actives_.size() + std::min(room(), max_load);
    const std::vector<store::Due> due =
        store::due(from, now, worker_, workers_, static_cast<long>(rows));
    const bool saw_all = due.size() < rows;
    swept_until_ = saw_all ? std::optional(now) : std::nullopt;
    std::vector<std::string> gids;
    for (const store::Due& d : due) {
        if (actives_.find(d.gid) == nullptr) gids.push_back(d.gid);
    }
    // More may wait: the next turn sweeps again instead of waiting for the interval.
    if (!saw_all && !gids.empty()) sweep_now_ = true;
    hub::count(hub::Counter::taken_by_sweep, gids.size());
    return gids;
}

void Coordinator::load(const std::vector<std::string>& gids, core::Time now) {
    if (gids.empty()) return;
    loading_ = gids;
    bool full = false;
    // Without room the rest waits in the table for a full sweep, but for what is here already:
    // somebody has changed it.
    const auto wanted = [&](std::string_view gid) {
        if (actives_.bytes() < Actives::max_bytes) return true;
        full = true;
        return actives_.find(gid) != nullptr;
    };
    store::load(gids, wanted, [&](const store::Row& row) { accept(row, now); });
    if (full) swept_until_.reset();
    loading_.clear();
    DTM_CRASH_POINT("worker.rows_loaded");
}

// A restored dump brings its identity before its transactions. So it is asked for after they are
// seen and before they are called.
void Coordinator::load_due(core::Time now) {
    const std::vector<std::string> gids = sweep(now);
    if (gids.empty()) return;
    if (const auto foreign = look_where_we_are().foreign) return become_foreign(*foreign);
    load(gids, now);
}

void Coordinator::accept(const store::Row& row, core::Time now) {
    // An operator may have ended it, whatever is still in flight.
    if (core::is_final(row.status)) {
        hub::announce_finished(row.gid);
        if (server_) tell_who_waits(row);
    }
    if (Active* a = actives_.find(row.gid)) {
        if (a->version == row.version) {
            actives_.end_rest(*a, now);  // somebody asks for it
        } else if (!a->reload) {
            actives_.changed_by_others(*a);
        }
        return;
    }
    if (row.unreadable) unreadable_.push_back({row.gid, row.version, *row.unreadable});
    if (core::is_final(row.status) || row.attention || row.unreadable) return;
    if (workers_ > 1 && hub::slice_of(row.gid, workers_) != worker_) return;
    const auto tolerance = asked_for_.contains(row.gid) ? clock_tolerance : core::Seconds{0};
    // What dtm_import() has brought is older, and was admitted by the commit that brought it.
    if (!foreign_ && row.create_time < installed_ - tolerance) {
        installed_ = look_where_we_are().installed;
    }
    if (!foreign_ && row.create_time < installed_ - tolerance) {
        // Restored without the identity, or before it.
        become_foreign("it has transactions from before the extension was installed here");
        restored_ = true;
    }
    if (silent()) return;
    try {
        // A session that names a row which was written before is an operator's (dtm_retry_now).
        actives_.add(row, first_xid_, row.version > 1 && asked_for_.contains(row.gid), now);
    } catch (const std::runtime_error& e) {
        unreadable_.push_back({row.gid, row.version, e.what()});
    }
}

// A row that cannot even be fetched (a damaged page, say) must not hide those read with it.
void Coordinator::load_one_by_one(const std::vector<std::string>& gids, core::Time now) {
    for (auto gid = gids.begin(); gid != gids.end(); ++gid) {
        try {
            pg::Transaction transaction;
            {
                pg::Spi spi;
                if (const auto row = store::load_one(*gid)) accept(*row, now);
            }
            transaction.commit();
        } catch (const pg::PgError& error) {
            const Settler::Blame blame = Settler::blame_of(error);
            if (blame == Settler::Blame::row) {
                unreadable_.push_back({*gid, 0, error.what()});
                continue;
            }
            again_.assign(gid, gids.end());
            if (blame == Settler::Blame::everything) throw;
            return;
        }
    }
}

void Coordinator::put_aside_unreadable() {
    std::vector<Unreadable> rows;
    rows.swap(unreadable_);
    for (const Unreadable& u : rows) {
        pg::log(LOG, "dtm_pg cannot read transaction " + u.gid + " and puts it aside", u.why,
                "See dtm.attention.");
        try {
            pg::Transaction transaction;
            {
                pg::Spi spi;
                store::put_aside(u.gid, u.version, u.why);
            }
            transaction.commit();
            DTM_CRASH_POINT("worker.unreadable_put_aside");
            hub::count(hub::Counter::attention);
        } catch (const pg::PgError& error) {
            if (Settler::blame_of(error) == Settler::Blame::everything) throw;
            pg::log(WARNING, "dtm_pg cannot mark transaction " + u.gid, error.what());
        }
    }
}

void Coordinator::send() {
    if (std::vector<net::Call>& outbox = actives_.outbox(); !outbox.empty()) {
        hub::count(hub::Counter::calls, outbox.size());
        DTM_CRASH_POINT("worker.calls_decided");
        client_->submit(outbox);
        DTM_CRASH_POINT("worker.calls_handed_over");
    }
    client_->recall(actives_.recalls());
}

void Coordinator::turn() {
    const core::Time now = pg::now();
    taken_up_ = false;
    look_around(now);
    show_endpoints(now);
    take_answers(now);
    look_after_api(now);
    const std::vector<std::string> announced = to_load(now);
    const bool sweeping = sweep_due(now);
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
        pg::Transaction transaction;
        {
            pg::Spi spi;
            load(announced, now);
            if (sweeping) load_due(now);
            send();
            if (server_ && !apart) server_->execute(pg::now());
            settler_.write(pg::now());
        }
        transaction.commit();
        return true;
    } catch (const pg::PgError& error) {
        swept_until_.reset();  // what this turn was told about is found by the next full sweep
        if (requests_apart(now)) return false;
        std::vector<std::string> unread;
        unread.swap(loading_);
        if (unread.empty()) {
            settler_.failed(error, now);
        } else if (Settler::blame_of(error) == Settler::Blame::row) {
            load_one_by_one(unread, now);
            put_aside_unreadable();
        } else {
            again_ = std::move(unread);
            if (Settler::blame_of(error) == Settler::Blame::everything) throw;
        }
        return false;
    } catch (const std::exception&) {
        if (!requests_apart(now)) throw;
        return false;
    }
}

}  // namespace dtm::worker
