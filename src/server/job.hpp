// One request of a client on its way through the main thread: what was read of it, what it became,
// and the answer that it gets.
#pragma once

#include "net/server.hpp"
#include "server/routes.hpp"
#include "store/commands.hpp"
#include "wire/api_answer.hpp"
#include "wire/api_request.hpp"

#include <optional>
#include <string>

namespace dtm::server {

// The answer to a request, in the words of HTTP; JSON-RPC wraps `outcome` or `object` differently.
struct Answer {
    wire::ApiOutcome outcome;
    std::string object;  // JSON of a success that says something; else empty
};

struct Job {
    std::uint64_t http = 0;  // net::HttpRequest::id
    Route route = Route::ping;
    std::chrono::steady_clock::time_point received;
    std::string topic;                              // delete_topic
    std::map<std::string, std::string> parameters;  // of the query string
    std::string body;
    std::optional<wire::RpcCall> rpc;            // the request came by JSON-RPC
    bool was_locked = false;                     // once: somebody's lock is not waited for again
    bool was_read = false;                       // `answer` tells of rows as a transaction saw them
    bool executed = false;                       // the command is committed, its read is not done
    bool needs_topics = false;                   // to be read again within a transaction
    bool gone = false;                           // its client has left
    std::optional<store::TransCommand> command;  // of routes that change a transaction
    std::optional<store::CommandResult> result;  // of the command
    std::optional<Answer> answer;
    // What a turn leaves to the next one.
    enum class Left : std::uint8_t { nothing, all, read } left = Left::nothing;
};

// Of the transaction that its command is about; else empty.
inline std::string_view gid_of(const Job& job) {
    return job.command ? job.command->gid() : std::string_view();
}

// Finds the route and reads the body. The answer is there already when the request is refused or
// needs no table. nullopt: there is no such route; `refusal` is what the client gets.
std::optional<Job> read_job(net::HttpRequest&& request, bool operators, net::HttpAnswer& refusal);

// For a job with needs_topics, within a transaction: reads its body again.
void read_again(Job& job);

// The answer as it goes out.
net::HttpAnswer wrap(const Job& job, const Answer& answer);

Answer failure_answer(wire::ApiOutcome::Kind kind, std::string message);

}  // namespace dtm::server
