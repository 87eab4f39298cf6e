// See server.hpp.
#include "server/server.hpp"

#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "server/listener.hpp"
#include "server/reads.hpp"
#include "server/round_answer.hpp"
#include "store/access.hpp"

extern "C" {
#include "utils/acl.h"
}

#include <algorithm>
#include <unordered_set>

namespace dtm::server {
namespace {

using Kind = wire::ApiOutcome::Kind;
using What = store::CommandResult::What;

constexpr std::size_t max_batch = 1000;  // bounds the turn, not the throughput
// Somebody else's lock: as long as a client may well wait for an answer.
constexpr std::chrono::seconds longest_lock{3};
constexpr std::chrono::milliseconds locked_look{20};
// Of one turn: bytes of lists, and the time that they take.
constexpr std::size_t longest_answers = std::size_t{32} << 20;
constexpr std::chrono::milliseconds longest_reading{100};
// Clients that wait for rounds; more are told at once that there is no end in sight.
constexpr std::size_t most_parked = 10000;
// A round that hangs that long will not be waited for; the transaction goes on all the same.
constexpr core::Seconds longest_wait{120};

bool is_lock(const pg::PgError& error) {
    return error.sqlstate() == ERRCODE_LOCK_NOT_AVAILABLE ||
           error.sqlstate() == ERRCODE_T_R_DEADLOCK_DETECTED;
}

// Whose the transactions of API clients are. Within a transaction.
Oid api_role() {
    const char* name = hub::settings.api_role;
    if (name == nullptr || *name == '\0') return store::tables_owner();
    const Oid role = pg::call([name] { return get_role_oid(name, true); });
    if (OidIsValid(role)) return role;
    throw pg::SqlError("42704",
                       "role \"" + std::string(name) + "\" of dtm.api_role does not exist");
}

std::string_view gid_of(const Job& job) {
    return job.command ? job.command->gid() : std::string_view();
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

bool asks_to_wait(const Job& job) {
    if (job.command->what == core::Command::submit)
        return job.command->request->options.wait_result;
    return job.command->what == core::Command::abort && job.result->request != nullptr &&
           job.result->request->options.wait_result;
}

}  // namespace

void Server::configure(bool open) {
    operators_ = hub::settings.api_admin;
    net::ServerSettings wanted = open ? listener_settings(applied_) : net::ServerSettings{};
    if (wanted == applied_) return;
    applied_ = wanted;
    client_.listen(std::move(wanted));
}

// Whoever owns these transactions may be serving the same clients.
void Server::refuse_all(const std::string& why) {
    for (Job& job : locked_) queue_.push_back(std::move(job));
    locked_.clear();
    const Answer answer = failure_answer(
        Kind::unavailable,
        "dtm_pg takes no requests for this database before dtm_adopt() is run: " + why);
    for (const Job& job : queue_) reply(job, answer);
    queue_.clear();
}

// Many clients that do not read what they have asked for.
void Server::refuse_lists_without_room() {
    if (client_.buffered() <= applied_.max_buffered) return;
    for (Job& job : batch_) {
        if (job.answer || job.command || !needs_read(job)) continue;
        job.answer = failure_answer(Kind::unavailable,
                                    "too many answers wait for their clients; try again later");
    }
}

void Server::receive(core::Time now, const std::optional<std::string>& foreign) {
    if (!locked_.empty() && now >= locked_until_) {
        for (Job& job : locked_) queue_.push_back(std::move(job));
        locked_.clear();
    }
    requests_.clear();
    client_.take_requests(requests_);
    if (!requests_.empty()) DTM_CRASH_POINT("server.requests_taken");
    for (net::HttpRequest& request : requests_) {
        net::HttpAnswer refusal;
        std::optional<Job> job = read_job(std::move(request), operators_, refusal);
        if (!job) {
            answers_.push_back(std::move(refusal));
        } else if (job->route == Route::metrics) {
            reply(*job, {{}, metrics_.text(client_.listener().connections)});
        } else if (job->answer) {
            reply(*job, *job->answer);
        } else {
            queue_.push_back(std::move(*job));
        }
    }
    if (foreign) refuse_all(*foreign);
}

void Server::take_batch() {
    while (!queue_.empty() && batch_.size() < max_batch) {
        batch_.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
}

// No two commands of a batch name the same gid: store::execute() rules each by what it finds.
void Server::put_back_doubles() {
    std::unordered_set<std::string> gids;
    std::vector<Job> batch;
    std::vector<Job> later;
    batch.reserve(batch_.size());
    for (Job& job : batch_) {
        const bool first = !job.command || gids.emplace(gid_of(job)).second;
        (first ? batch : later).push_back(std::move(job));
    }
    batch_.swap(batch);
    queue_.insert(queue_.begin(), std::make_move_iterator(later.begin()),
                  std::make_move_iterator(later.end()));
}

void Server::command(const std::vector<Job*>& commanders, Oid role, core::Time now) {
    if (commanders.empty()) return;
    DTM_CRASH_POINT("server.executing");
    const bool careful =
        careful_ || std::ranges::any_of(batch_, [](const Job& job) { return job.was_locked; });
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
    refuse_lists_without_room();
    for (Job& job : batch_) {
        if (job.needs_topics) read_topics(job);
    }
    put_back_doubles();
    std::vector<Job*> commanders;
    for (Job& job : batch_) {
        job.result.reset();
        if (job.command && !job.answer) commanders.push_back(&job);
    }
    touched_.clear();
    try {
        const Oid role = api_role();
        command(commanders, role, now);
        read_rows(role, now);
    } catch (const pg::SqlError& error) {  // nothing was done: the settings, or the schema
        for (Job& job : batch_) {
            if (!job.answer) job.answer = failure_answer(Kind::error, described(error));
        }
    }
    DTM_CRASH_POINT("server.executed");
}

// Lists are long and a turn is short: what does not fit is read in the next one.
void Server::read_rows(Oid role, core::Time now) {
    const auto reads = [](const Job& job) { return !job.answer && needs_read(job); };
    if (std::ranges::none_of(batch_, reads)) return;
    pg::renew_snapshot();
    const auto begin = std::chrono::steady_clock::now();
    std::size_t bytes = 0;
    std::vector<Job> batch;
    batch.reserve(batch_.size());
    for (Job& job : batch_) {
        const bool full =
            bytes > longest_answers || std::chrono::steady_clock::now() - begin > longest_reading;
        if (reads(job) && full && !job.command) {
            queue_.push_back(std::move(job));
            continue;
        }
        if (reads(job)) {
            job.answer = answer_read(job, role, now, touched_);
            job.was_read = true;
            bytes += job.answer->object.size();
        }
        batch.push_back(std::move(job));
    }
    batch_.swap(batch);
}

// What the coordinator has to look at.
void Server::take_note(Job& job) {
    const bool changed = job.result && job.result->what == What::done && job.result->changed;
    if (!changed || job.command->what == core::Command::register_branch) return;
    written_.push_back({std::string(gid_of(job)), std::move(*job.result)});
}

void Server::finish(Job& job, core::Time now) {
    if (job.answer) {
        take_note(job);
        return reply(job, *job.answer);
    }
    store::CommandResult& result = *job.result;
    switch (result.what) {
        case What::busy:
            job.was_locked = true;
            if (std::chrono::steady_clock::now() - job.received < longest_lock) {
                locked_.push_back(std::move(job));
                locked_until_ = now + locked_look;
            } else {
                reply(job,
                      failure_answer(Kind::error, "somebody has locked transaction " +
                                                      std::string(gid_of(job)) + "; try again"));
            }
            return;
        case What::failure:
            return reply(job, failure_answer(Kind::failure, std::move(result.message)));
        case What::error:
            return reply(job, failure_answer(Kind::error, std::move(result.message)));
        case What::done:
            break;
    }
    const bool waits = asks_to_wait(job) && !core::is_final(result.status);
    take_note(job);
    if (waits) return park(std::move(job), now);
    reply(job, {});
}

// Of a request that waits only what its answer needs is kept.
void Server::park(Job&& job, core::Time now) {
    Waiting waiting;
    const std::string gid(gid_of(job));
    waiting.what = job.command->what;
    waiting.type = job.command->request->type;
    waiting.since = parked_ < most_parked ? now : now - longest_wait;
    waiting.job.http = job.http;
    waiting.job.route = job.route;
    waiting.job.received = job.received;
    if (job.rpc) waiting.job.rpc = wire::RpcCall{{}, std::move(job.rpc->id), {}, {}};
    waiting_[gid].push_back(std::move(waiting));
    ++parked_;
}

void Server::committed(core::Time now) {
    if (batch_.empty()) return;
    DTM_CRASH_POINT("server.committed");
    careful_ = std::ranges::any_of(
        batch_, [](const Job& job) { return job.result && job.result->what == What::busy; });
    std::vector<Job> batch;
    batch.swap(batch_);
    for (Job& job : batch) finish(job, now);
    for (std::string& gid : touched_) written_.push_back({std::move(gid), {}});
    touched_.clear();
}

void Server::alone(core::Time now) {
    std::vector<Job> jobs;
    jobs.swap(batch_);
    bool any_locked = careful_;
    for (Job& job : jobs) {
        // What was read of rows in the transaction that failed is read again.
        if (job.was_read) job.answer.reset();
        job.was_read = false;
        batch_.clear();
        batch_.push_back(std::move(job));
        std::optional<store::CommandResult> failed;
        try {
            pg::Transaction transaction;
            {
                pg::Spi spi;
                execute(now);
            }
            transaction.commit();
            // As in Coordinator::turn: no answer after a synchronous wait that was cancelled.
            pg::call([] { CHECK_FOR_INTERRUPTS(); });
        } catch (const pg::PgError& error) {
            failed.emplace().what = is_lock(error) ? What::busy : What::error;
            failed->message = error.what();
        } catch (const std::exception& error) {
            failed.emplace().message = error.what();
        }
        if (failed) {
            batch_.front().answer.reset();
            batch_.front().result = std::move(failed);
        }
        committed(now);
        any_locked = any_locked || careful_;
        careful_ = any_locked;
    }
}

std::vector<Server::Written> Server::take_written() {
    std::vector<Written> written;
    written.swap(written_);
    return written;
}

std::vector<std::string> Server::awaited() const {
    std::vector<std::string> gids;
    for (const auto& [gid, jobs] : waiting_) gids.push_back(gid);
    return gids;
}

void Server::round_over(const RoundEnd& end) {
    const auto found = waiting_.find(end.gid);
    if (found == waiting_.end()) return;
    for (const Waiting& w : found->second) reply(w.job, {round_answer(w.what, end), {}});
    parked_ -= found->second.size();
    waiting_.erase(found);
}

void Server::give_up(core::Time now) {
    for (auto w = waiting_.begin(); w != waiting_.end();) {
        std::erase_if(w->second, [&](const Waiting& waiting) {
            if (now - waiting.since < longest_wait) return false;
            RoundEnd end;
            end.gid = w->first;
            end.type = waiting.type;
            end.last = {core::Result::ongoing, "no end in sight", {}};
            reply(waiting.job, {round_answer(waiting.what, end), {}});
            --parked_;
            return true;
        });
        w = w->second.empty() ? waiting_.erase(w) : std::next(w);
    }
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
