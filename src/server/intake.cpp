// What arrives at the server, and what of it never is executed (server.hpp).
#include "crash_point.hpp"
#include "server/server.hpp"

#include <algorithm>
#include <unordered_set>

namespace dtm::server {
namespace {

using Kind = wire::ApiOutcome::Kind;

constexpr std::size_t max_batch = 1000;  // bounds the turn, not the throughput

}  // namespace

void Server::receive(core::Time now, const std::optional<std::string>& foreign) {
    drop_unanswered();
    if (!locked_.empty() && now >= locked_until_) {
        for (Job& job : locked_) queue_.push_back(std::move(job));
        locked_.clear();
    }
    requests_.clear();
    client_.take_gone(gone_);  // first: whoever is gone has arrived
    client_.take_requests(requests_);
    if (!requests_.empty()) DTM_CRASH_POINT("server.requests_taken");
    for (net::HttpRequest& request : requests_) {
        net::HttpAnswer refusal;
        std::optional<Job> job = read_job(std::move(request), operators_, refusal);
        if (!job) {
            answers_.push_back(std::move(refusal));
        } else if (job->route == Route::metrics) {
            reply(*job, {{}, metrics_.text(client_.listener().connections, waiting_.size())});
        } else if (job->answer) {
            reply(*job, *job->answer);
        } else {
            queue_.push_back(std::move(*job));
        }
    }
    forget_the_gone();
    if (foreign) refuse_all(*foreign);
}

// Their commands are carried out all the same; but nobody waits for a round.
void Server::forget_the_gone() {
    if (gone_.empty()) return;
    const std::vector<std::uint64_t> strangers = waiting_.forget(gone_);
    gone_.clear();
    if (strangers.empty()) return;
    const std::unordered_set<std::uint64_t> left(strangers.begin(), strangers.end());
    const auto mark = [&left](Job& job) { job.gone = job.gone || left.contains(job.http); };
    std::ranges::for_each(queue_, mark);
    std::ranges::for_each(locked_, mark);
}

// Many commands about one gid do not fill a turn in which only the first of them has its turn.
void Server::take_batch() {
    std::unordered_set<std::string> gids;
    std::deque<Job> doubles;
    while (!queue_.empty() && batch_.size() < max_batch) {
        Job& job = queue_.front();
        const bool commands = job.command && !job.executed;
        const bool first = !commands || gids.emplace(gid_of(job)).second;
        (first ? batch_.emplace_back() : doubles.emplace_back()) = std::move(job);
        queue_.pop_front();
    }
    queue_.insert(queue_.begin(), std::make_move_iterator(doubles.begin()),
                  std::make_move_iterator(doubles.end()));
}

// What an error has left between the commit and the answer: it must not be executed again, and
// nobody knows what may be said. The clients ask again, and the rows are read again.
void Server::drop_unanswered() {
    for (const Job& job : batch_) {
        answers_.emplace_back().id = job.http;
        answers_.back().kind = net::HttpAnswer::Kind::none;
        if (job.command) written_.push_back({std::string(gid_of(job)), {}});
    }
    batch_.clear();
    queue_.insert(queue_.begin(), std::make_move_iterator(apart_.begin()),
                  std::make_move_iterator(apart_.end()));
    apart_.clear();
}

// Whoever owns these transactions may be serving the same clients.
void Server::refuse_all(const std::string& why) {
    for (Job& job : locked_) queue_.push_back(std::move(job));
    locked_.clear();
    const Answer answer = failure_answer(
        Kind::unavailable,
        "dtm_pg takes no requests for this database before dtm_adopt() is run: " + why);
    for (const Job& job : queue_) refuse(job, answer);
    queue_.clear();
}

// What is committed already was not refused: its client asks again.
void Server::refuse(const Job& job, const Answer& answer) {
    if (!job.executed) return reply(job, answer);
    answers_.emplace_back().id = job.http;
    answers_.back().kind = net::HttpAnswer::Kind::none;
}

void Server::cannot_work(core::Time now, const std::optional<std::string>& foreign,
                         const std::string& why) {
    receive(now, foreign);
    const Answer answer = failure_answer(
        Kind::unavailable, "dtm_pg cannot work at the moment: " + why + "; try again later");
    const auto latest = std::chrono::steady_clock::now() - longest_lock;
    const auto too_late = [&](const Job& job) {
        if (job.received > latest) return false;
        refuse(job, answer);
        return true;
    };
    std::erase_if(queue_, too_late);
    std::erase_if(locked_, too_late);
    give_up();
    send();
}

}  // namespace dtm::server
