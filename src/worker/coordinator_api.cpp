// What a coordinator has to do with the API server (design 12): the first one of its database runs
// it.
#include "hub/shared.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "server/listener.hpp"
#include "worker/coordinator.hpp"

namespace dtm::worker {
namespace {

// How often rows of other coordinators are looked at that a client waits for.
constexpr std::chrono::milliseconds other_look{50};

// What a row tells of its transaction's last round, read before `now`; none: it may be under way.
std::optional<server::RoundEnd> round_seen(const store::Row& row, core::Time now) {
    server::RoundEnd end;
    end.gid = row.gid;
    end.type = row.type;
    end.status = row.status;
    end.rollback_reason = row.rollback_reason;
    if (core::is_final(row.status)) return end;
    if (row.attention || row.unreadable) {
        end.last = {core::Result::error, row.unreadable.value_or(row.attention.value_or("")), {}};
        return end;
    }
    // What is due is called, or will be.
    if (!row.next_cron_time || *row.next_cron_time <= now) return std::nullopt;
    try {
        const auto waiting = Actives::waiting_since(row);
        if (!waiting) return std::nullopt;
        end.last = *waiting;
    } catch (const std::runtime_error& error) {  // its coordinator puts it aside
        end.last = {core::Result::error, error.what(), {}};
    }
    // Whoever saw this version, or wrote it, waits for what comes after it.
    end.version = row.version - 1;
    return end;
}

}  // namespace

// The first coordinator of the API's database is the API server, and a copied database must not
// take what is meant for the original (P15).
void Coordinator::look_after_api(core::Time now) {
    if (worker_ != 0) return;
    if (!api_known_) {
        pg::Transaction transaction;
        api_is_ours_ = server::is_api_database();
        transaction.commit();
    }
    if (api_is_ours_ && !server_) {
        server_ = std::make_unique<server::Server>(*client_);
        actives_.report_to(server_.get());
    }
    const bool open = api_is_ours_ && !foreign_;
    if (server_ && (!api_known_ || open != api_open_)) server_->configure(open);
    if (server_ && !api_known_ && !api_is_ours_) server::withdraw();
    api_known_ = true;
    api_open_ = open;
    if (!server_) return;
    server_->receive(now, foreign_);
    if (!api_shown_ || now < *api_shown_ || now - *api_shown_ >= core::Seconds{1}) {
        api_shown_ = now;
        server_->give_up();
        server_->metrics().look_at_coordinators();
        if (api_is_ours_) server::publish(client_->listener());
    }
    look_after_others(now);
}

// The rounds of other slices are seen in their rows alone.
void Coordinator::look_after_others(core::Time now) {
    if (workers_ == 1 || (others_seen_ && now >= *others_seen_ && now - *others_seen_ < other_look))
        return;
    others_seen_ = now;
    std::vector<std::string> gids = server_->awaited();
    std::erase_if(
        gids, [this](const std::string& gid) { return hub::slice_of(gid, workers_) == worker_; });
    if (gids.empty()) return;
    try {
        look_at_rounds(gids);
    } catch (const pg::PgError& error) {
        if (!Settler::is_about_rows(error)) return;
        for (const std::string& gid : gids) look_at_round(gid);
    }
}

void Coordinator::look_at_rounds(std::span<const std::string> gids) {
    pg::in_transaction([&] {
        store::load(
            gids, [](std::string_view) { return true; },
            [this](const store::Row& row) {
                if (const auto end = round_seen(row, pg::now())) server_->round_over(*end);
            });
    });
}

// Of a row that cannot be read only its clients hear here: it is not of our slice, and a turn that
// ends for it would end for all.
void Coordinator::look_at_round(const std::string& gid) {
    try {
        look_at_rounds({&gid, 1});
    } catch (const pg::PgError& error) {
        if (!Settler::is_about_rows(error)) return;
        server::RoundEnd end;
        end.gid = gid;
        end.type = core::TransType::tcc;  // whose unfinished rounds never seem to be failures
        end.last = {core::Result::error, error.what(), {}};
        server_->round_over(end);
    }
}

std::optional<core::Time> Coordinator::api_due(core::Time now) const {
    if (!server_) return std::nullopt;
    std::optional<core::Time> due = server_->due();
    if (workers_ == 1 || !server_->anybody_waits()) return due;
    return std::min<core::Time>(due.value_or(now + other_look), now + other_look);
}

void Coordinator::tell_who_waits(const store::Row& row) {
    if (!server_->is_awaited(row.gid)) return;
    if (const auto end = round_seen(row, pg::now())) server_->round_over(*end);
}

// Nobody knows whose error it is when a transaction of both fails: requests are executed one by
// one, and what was to be settled is settled in the next turn.
bool Coordinator::requests_apart(core::Time now, bool locked) {
    if (!server_ || !server_->executing()) return false;
    settler_.postpone();
    settle_apart_ = true;
    server_->alone(now, locked);
    return true;
}

void Coordinator::cannot_work(const std::string& why) {
    if (server_) server_->cannot_work(pg::now(), foreign_, why);
}

void Coordinator::take_up(core::Time now) {
    if (!server_) return;
    for (auto& [gid, row] : server_->take_written()) {
        if (workers_ > 1 && hub::slice_of(gid, workers_) != worker_) {
            hub::announce(gid, row.waits_beside ? hub::Wish::hurry : hub::Wish::look);
        } else if (Active* a = actives_.find(gid)) {
            if (row.waits_beside) to_hurry_.insert(gid);
            // Whoever gave a verb is answered before the row is read again, and nothing may leave
            // after that.
            if (a->version < row.version) actives_.changed_by_others(*a);
            touched_.push_back(gid);
        } else if (!row.request || !row.silent) {
            if (row.waits_beside) to_hurry_.insert(gid);
            touched_.push_back(gid);
        } else if (row.status != core::Status::prepared && room() > 0) {
            actives_.add(row, now);
            taken_up_ = true;
        }
    }
}

}  // namespace dtm::worker
