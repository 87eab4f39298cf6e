// See server.hpp.
#include "server/server.hpp"

#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "pg/session.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "server/listener.hpp"
#include "server/reads.hpp"
#include "server/round_answer.hpp"
#include "store/access.hpp"

#include <algorithm>
#include <array>
#include <unordered_set>

namespace dtm::server {
namespace {

using Kind = wire::ApiOutcome::Kind;
using What = store::CommandResult::What;

constexpr std::chrono::milliseconds locked_look{20};
// Rows that are locked are skipped. Where so many commands found a lock all the same, it is one of
// the table, and the others need not wait for it, too.
constexpr int max_tables_locked = 5;
// Of those who must not wait for locks. Long enough for one that is held for a moment only, as for
// extending a file.
constexpr std::chrono::milliseconds short_wait{20};
// Of one turn: bytes of lists, and the time that they take.
constexpr std::size_t longest_answers = std::size_t{32} << 20;
constexpr std::chrono::milliseconds longest_reading{100};

bool is_long_read(Route route) {
    return route == Route::query || route == Route::all || route == Route::scan_kv ||
           route == Route::query_kv;
}

bool is_lock(const pg::PgError& error) {
    return error.sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE ||
           error.sqlstate() == ERRCODE_T_R_DEADLOCK_DETECTED;
}

// Whose the transactions of API clients are. Within a transaction.
Oid api_role() {
    const char* const name = hub::settings.api_role;
    const Oid role = store::role_or_owner(name);
    if (OidIsValid(role)) return role;
    throw pg::SqlError(
        "42704", "role \"" + std::string(name) + "\" of dtm.api_role does not exist", {},
        "CREATE ROLE it, or set dtm.api_role to a role that exists and reload the settings.");
}

std::string what_is_locked(const Job& job) {
    if (job.command) return "transaction " + std::string(gid_of(job));
    const std::string topic = changed_topic(job);
    return topic.empty() ? "what it needs" : "topic " + topic;
}

std::string described(const pg::SqlError& error) {
    std::string text = error.what();
    if (!error.detail.empty()) text += ". " + error.detail;
    return text;
}

void read_topics(Job& job) {
    try {
        read_again(job);
    } catch (const pg::SqlError& error) {
        job.answer = failure_answer(Kind::error, described(error));
    }
}

// Null when it cannot be read.
const core::Request* stored_request(const store::CommandResult& result) {
    return result.request ? result.request.get() : result.stored.get();
}

// An abort waits where that was asked for when the transaction was prepared.
bool asks_to_wait(const Job& job) {
    if (job.command->what == core::Command::submit)
        return job.command->request->options.wait_result;
    const core::Request* stored = stored_request(*job.result);
    return job.command->what == core::Command::abort && stored != nullptr &&
           stored->options.wait_result;
}

// The round of a transaction of which nothing is going to be called.
RoundEnd end_without_a_call(const Job& job) {
    RoundEnd end;
    end.type = job.command->request->type;
    end.status = job.result->status;
    end.rollback_reason = job.result->rollback_reason;
    if (!job.result->rests->empty()) end.last = {core::Result::error, *job.result->rests, {}};
    return end;
}

}  // namespace

void Server::configure(bool open) {
    operators_ = hub::settings.api_admin;
    role_complained_ = false;
    if (open) look_at_role();
    net::ServerSettings wanted = open ? listener_settings(applied_) : net::ServerSettings{};
    if (wanted == applied_) return;
    applied_ = wanted;
    client_.listen(std::move(wanted));
}

// Clients are told of it with each request; whoever has set it looks at the log.
void Server::look_at_role() {
    pg::Transaction transaction;
    try {
        (void)api_role();
    } catch (const pg::SqlError& error) {
        complain(error);
    }
    transaction.commit();
}

void Server::complain(const pg::SqlError& error) {
    if (!role_complained_) {
        pg::log(WARNING, "dtm coordinator refuses all requests of API clients", described(error),
                error.hint);
    }
    role_complained_ = true;
}

// Many clients that do not read what they have asked for: half of the room is kept for commands.
void Server::refuse_reads_without_room() {
    if (client_.buffered() <= applied_.max_buffered / 2) return;
    for (Job& job : batch_) {
        if (job.answer || !is_long_read(job.route)) continue;
        job.answer = failure_answer(Kind::unavailable,
                                    "too many answers wait for their clients; try again later");
    }
}

// By the levels of dtm_grant(). Who owns dtm's tables needs none.
void Server::refuse_what_is_not_permitted(Oid role) {
    if (!hub::is_set(hub::settings.api_role)) return;
    permission_.look_up(role);
    for (Job& job : batch_) {
        const bool done = job.answer || job.executed || job.left != Job::Left::nothing;
        if (!done) job.answer = permission_.refusal(job.route);
    }
}

// No two commands of a turn name the same gid: store::execute() rules each by what it finds.
void Server::leave_doubles() {
    std::unordered_set<std::string_view> gids;
    for (Job& job : batch_) {
        if (!job.command || job.executed || job.answer) continue;
        if (!gids.insert(gid_of(job)).second) job.left = Job::Left::all;
    }
}

void Server::command(const std::vector<Job*>& commanders, Oid role, core::Time now, bool careful) {
    if (commanders.empty()) return;
    DTM_CRASH_POINT("server.executing");
    std::vector<const store::TransCommand*> commands;
    commands.reserve(commanders.size());
    for (const Job* job : commanders) commands.push_back(&*job->command);
    std::vector<store::CommandResult> results =
        store::execute(commands, role, now, hub::policy(), careful);
    for (std::size_t i = 0; i < results.size(); ++i) commanders[i]->result = std::move(results[i]);
}

void Server::execute(core::Time now) {
    if (batch_.empty()) take_batch();
    if (batch_.empty()) return;
    const bool careful = careful_ || std::ranges::any_of(batch_, &Job::was_locked);
    std::optional<pg::LockTimeout> timeout;
    if (careful) timeout.emplace(short_wait);
    refuse_reads_without_room();
    for (Job& job : batch_) {
        if (job.needs_topics && !job.answer) read_topics(job);
    }
    leave_doubles();
    std::vector<Job*> commanders;
    for (Job& job : batch_) {
        job.result.reset();
        const bool wanted = job.left == Job::Left::nothing && !job.executed && !job.answer;
        if (job.command && wanted) commanders.push_back(&job);
    }
    touched_.clear();
    try {
        const Oid role = api_role();
        refuse_what_is_not_permitted(role);
        std::erase_if(commanders, [](const Job* job) { return job->answer.has_value(); });
        command(commanders, role, now, careful);
        read_rows(role, now);
    } catch (const pg::SqlError& error) {  // nothing was done: the settings, or the schema
        complain(error);
        for (Job& job : batch_) {
            if (job.left != Job::Left::nothing) continue;
            if (!job.answer) job.answer = failure_answer(Kind::error, described(error));
        }
    }
    DTM_CRASH_POINT("server.executed");
}

// Lists are long and a turn is short: what does not fit is read in the next one.
void Server::read_rows(Oid role, core::Time now) {
    const auto reads = [](const Job& job) {
        return !job.answer && job.left == Job::Left::nothing && needs_read(job);
    };
    if (std::ranges::none_of(batch_, reads)) return;
    pg::renew_snapshot();
    const auto begin = std::chrono::steady_clock::now();
    std::size_t bytes = 0;
    for (Job& job : batch_) {
        if (!reads(job)) continue;
        if (bytes > longest_answers || std::chrono::steady_clock::now() - begin > longest_reading) {
            job.left = Job::Left::read;
            continue;
        }
        job.answer = answer_read(job, role, now, touched_);
        job.was_read = true;
        if (job.answer) {
            bytes += job.answer->object.size();
        } else {
            job.result.emplace().what = What::busy;
        }
    }
}

// What the coordinator has to look at.
void Server::take_note(Job& job) {
    const bool changed = job.result && job.result->what == What::done && job.result->changed;
    if (!changed || job.command->what == core::Command::register_branch) return;
    written_.push_back({std::string(gid_of(job)), std::move(*job.result)});
}

// Somebody's lock is in the way.
void Server::come_back(Job& job, core::Time now) {
    job.was_locked = true;
    if (std::chrono::steady_clock::now() - job.received < longest_lock) {
        if (locked_.empty()) locked_until_ = now + locked_look;
        locked_.push_back(std::move(job));
    } else {
        reply(job, failure_answer(Kind::error,
                                  "somebody has locked " + what_is_locked(job) + "; try again"));
    }
}

void Server::finish(Job& job, core::Time now) {
    if (job.answer) {
        take_note(job);
        return reply(job, *job.answer);
    }
    if (job.left == Job::Left::read) {
        take_note(job);
        job.executed = job.command.has_value();
        job.left = Job::Left::nothing;
        queue_.push_back(std::move(job));
        return;
    }
    store::CommandResult& result = *job.result;
    switch (result.what) {
        case What::busy:
            return come_back(job, now);
        case What::failure:
            return reply(job, failure_answer(Kind::failure, std::move(result.message)));
        case What::error:
            return reply(job, failure_answer(Kind::error, std::move(result.message)));
        case What::done:
            break;
    }
    const bool waits = asks_to_wait(job) && !core::is_final(result.status);
    if (!waits) {
        take_note(job);
        return reply(job, {});
    }
    if (result.rests) {
        reply(job, {round_answer(job.command->what, end_without_a_call(job)), {}});
    } else if (!job.gone) {
        park(job);
    }
    take_note(job);
}

void Server::park(const Job& job) {
    Guest guest;
    guest.http = job.http;
    guest.route = job.route;
    guest.received = job.received;
    if (job.rpc) guest.rpc_id = job.rpc->id;
    guest.what = job.command->what;
    guest.version = job.result->version;
    // The client need not have named all branches.
    const core::Request* stored = stored_request(*job.result);
    guest.until = std::chrono::steady_clock::now() +
                  longest_wait(stored != nullptr ? *stored : *job.command->request, hub::policy());
    waiting_.admit(std::string(gid_of(job)), std::move(guest));
    answers_.emplace_back().id = job.http;
    answers_.back().kind = net::HttpAnswer::Kind::later;
}

void Server::committed(core::Time now) {
    if (batch_.empty()) return;
    DTM_CRASH_POINT("server.committed");
    careful_ = std::ranges::any_of(batch_, [](const Job& job) {
        return job.command && job.result && job.result->what == What::busy;
    });
    std::vector<Job> doubles;
    for (Job& job : batch_) {
        if (job.left == Job::Left::all) {
            job.left = Job::Left::nothing;
            doubles.push_back(std::move(job));
        } else {
            finish(job, now);
        }
    }
    batch_.clear();
    queue_.insert(queue_.begin(), std::make_move_iterator(doubles.begin()),
                  std::make_move_iterator(doubles.end()));
    for (std::string& gid : touched_) written_.push_back({std::move(gid), {}});
    touched_.clear();
}

void Server::alone(core::Time now, bool locked) {
    careful_ = careful_ || locked;
    for (Job& job : batch_) {
        // What was read of rows in the transaction that failed is read again.
        if (job.was_read) job.answer.reset();
        job.was_read = false;
        job.left = Job::Left::nothing;
        apart_.push_back(std::move(job));
    }
    batch_.clear();
    bool any_locked = careful_;
    std::array<int, 2> tables_locked{};  // of commands about transactions, and of the others
    while (!apart_.empty()) {
        batch_.push_back(std::move(apart_.front()));
        apart_.pop_front();
        Job& job = batch_.front();
        int& locks = tables_locked.at(job.command.has_value() ? 0 : 1);
        if (!job.executed && !job.answer && locks >= max_tables_locked) {
            job.result.emplace().what = What::busy;
        } else if (!execute_alone(now)) {
            ++locks;
        }
        committed(now);
        any_locked = any_locked || careful_;
        careful_ = any_locked;
    }
}

bool Server::execute_alone(core::Time now) {
    store::CommandResult failed;
    bool stored = false;
    bool locked = false;
    try {
        pg::in_transaction([&] { execute(now); });
        stored = true;
        // As in Coordinator::turn: no answer after a synchronous wait that was cancelled.
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
        return true;
    } catch (const pg::PgError& error) {
        if (stored) throw;
        locked = is_lock(error);
        failed.what = locked ? What::busy : What::error;
        failed.message = error.what();
    } catch (const std::exception& error) {
        failed.message = error.what();
    }
    batch_.front().answer.reset();
    batch_.front().left = Job::Left::nothing;
    batch_.front().result = std::move(failed);
    return !locked;
}

std::vector<Server::Written> Server::take_written() {
    std::vector<Written> written;
    written.swap(written_);
    return written;
}

void Server::round_over(const RoundEnd& end) {
    for (Guest& guest : waiting_.leave(end)) {
        wire::ApiOutcome outcome = round_answer(guest.what, end);
        reply(std::move(guest), std::move(outcome));
    }
}

void Server::give_up() {
    for (Guest& guest : waiting_.leave(std::chrono::steady_clock::now())) {
        reply(std::move(guest), no_end_in_sight());
    }
}

void Server::reply(Guest&& guest, wire::ApiOutcome outcome) {
    Job job;
    job.http = guest.http;
    job.route = guest.route;
    job.received = guest.received;
    if (guest.rpc_id) job.rpc = wire::RpcCall{{}, std::move(*guest.rpc_id), {}, {}};
    reply(job, {std::move(outcome), {}});
}

void Server::reply(const Job& job, const Answer& answer) {
    net::HttpAnswer out = wrap(job, answer);
    const bool ok = job.rpc ? true : out.status < 400;
    metrics_.request(job.rpc ? Route::json_rpc : job.route, ok,
                     std::chrono::steady_clock::now() - job.received);
    answers_.push_back(std::move(out));
}

void Server::send() {
    if (!answers_.empty()) client_.answer(answers_);
}

}  // namespace dtm::server
