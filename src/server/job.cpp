// See job.hpp.
#include "server/job.hpp"

#include "hub/settings.hpp"
#include "store/new_gid.hpp"
#include "store/subscribers.hpp"
#include "wire/query.hpp"
#include "wire/text.hpp"

namespace dtm::server {
namespace {

using core::Command;
using Kind = wire::ApiOutcome::Kind;

// Topics are rows: a request that names one is read again where rows can be read.
struct NeedsTopics {};
std::vector<std::string> no_topics_here(std::string_view) { throw NeedsTopics{}; }

Route route_of(wire::RpcMethod method) {
    switch (method) {
        case wire::RpcMethod::new_gid:
            return Route::new_gid;
        case wire::RpcMethod::prepare:
            return Route::prepare;
        case wire::RpcMethod::submit:
            return Route::submit;
        case wire::RpcMethod::abort:
            return Route::abort;
        case wire::RpcMethod::register_branch:
            break;
    }
    return Route::register_branch;
}

std::optional<Command> command_of(Route route) {
    switch (route) {
        case Route::prepare:
            return Command::prepare;
        case Route::submit:
            return Command::submit;
        case Route::abort:
            return Command::abort;
        case Route::force_stop:
            return Command::force_stop;
        case Route::reset_next_cron_time:
            return Command::hurry;
        case Route::prepare_workflow:
            return Command::prepare_workflow;
        default:
            return std::nullopt;
    }
}

store::TransCommand trans_command(const Job& job, Command command,
                                  const wire::TopicLookup& topics) {
    return store::command_of(job.rpc ? wire::parse_trans(job.rpc->params, command, topics)
                                     : wire::parse_trans(job.body, command, topics));
}

void read_body(Job& job, const wire::TopicLookup& topics) {
    try {
        if (const auto command = command_of(job.route)) {
            job.command = trans_command(job, *command, topics);
        } else if (job.route == Route::register_branch) {
            store::TransCommand made;
            made.what = Command::register_branch;
            made.registration = job.rpc ? wire::parse_registration(job.rpc->params)
                                        : wire::parse_registration(job.body);
            job.command = std::move(made);
        }
    } catch (const wire::BadRequest& bad) {
        job.answer = Answer{wire::refusal(bad), {}};
    }
}

// A document takes many times what its text takes, and many requests may wait.
void forget_text(Job& job) {
    std::string().swap(job.body);  // an assignment would keep its memory
    if (!job.rpc) return;
    job.rpc->params = {};
    job.rpc->document.reset();
}

void read_rpc(Job& job) {
    wire::RpcRead read = wire::parse_rpc(job.body);
    if (!read.call) {
        job.answer = Answer{};
        job.answer->object = wire::rpc_error(read.fault.id, read.fault.code, read.fault.message);
        // Of all faults only an undecodable body has a status of its own (3.2).
        if (read.fault.code == -32700) job.answer->outcome.kind = Kind::bad_body;
        return;
    }
    job.rpc = std::move(read.call);
    job.route = route_of(job.rpc->method);
}

// What every node of a cluster would say; no table is asked.
void answer_at_once(Job& job) {
    using Member = std::pair<std::string_view, std::string>;
    if (job.route == Route::ping) {
        job.answer = Answer{{}, R"({"msg":"pong"})"};
    } else if (job.route == Route::version) {
        const Member members[] = {{"version", wire::json_string("v1.19.0-dtm_pg")}};
        job.answer = Answer{{}, wire::json_object(members)};
    } else if (job.route == Route::new_gid) {
        const std::string gid = wire::json_string(store::new_gid(hub::settings.node_name));
        const Member rpc[] = {{"gid", gid}};
        const Member http[] = {{"dtm_result", wire::json_string("SUCCESS")}, {"gid", gid}};
        job.answer = Answer{{}, job.rpc ? wire::json_object(rpc) : wire::json_object(http)};
    }
}

// What PostgreSQL would not store as text must not get there: nobody could read it again.
bool is_text(std::string_view text) {
    return text.find('\0') == text.npos && wire::first_invalid_utf8(text) == text.npos;
}

std::string unreadable_parameter(const Job& job) {
    if (!is_text(job.topic)) return "the name of the topic";
    for (const auto& [name, value] : job.parameters) {
        if (!is_text(name)) return "the name of a parameter";
        if (!is_text(value)) return name;
    }
    return {};
}

net::HttpAnswer plain(std::uint64_t id, unsigned status, std::string body) {
    net::HttpAnswer answer;
    answer.id = id;
    answer.status = status;
    answer.content_type = "text/plain";
    answer.body = std::move(body);
    return answer;
}

}  // namespace

Answer failure_answer(Kind kind, std::string message) { return {{kind, std::move(message)}, {}}; }

std::optional<Job> read_job(net::HttpRequest&& request, bool operators, net::HttpAnswer& refusal) {
    wire::Target target = wire::parse_target(request.target);
    Match found = match(request.method, target.path, operators);
    if (!found.route && !found.redirect.empty()) {
        const bool get = request.method == "GET";
        refusal = plain(request.id, get ? 301 : 307, {});
        refusal.location = wire::escaped_path(found.redirect);
        const std::size_t question = request.target.find('?');
        if (question != request.target.npos) refusal.location += request.target.substr(question);
        return std::nullopt;
    }
    if (!found.route) {
        refusal = plain(request.id, 404, "404 page not found");
        return std::nullopt;
    }
    Job job;
    job.http = request.id;
    job.route = *found.route;
    job.received = request.received;
    job.topic = std::move(found.topic);
    job.parameters = std::move(target.parameters);
    job.body = std::move(request.body);
    if (const std::string bad = unreadable_parameter(job); !bad.empty()) {
        job.answer = failure_answer(Kind::error, bad + " is not valid UTF-8 text");
        return job;
    }
    if (job.route == Route::json_rpc) read_rpc(job);
    if (!job.answer) answer_at_once(job);
    try {
        if (!job.answer) read_body(job, no_topics_here);
        forget_text(job);
    } catch (const NeedsTopics&) {
        job.needs_topics = true;
    }
    return job;
}

void read_again(Job& job) {
    read_body(job, store::subscriber_urls);
    job.needs_topics = false;
    forget_text(job);
}

net::HttpAnswer wrap(const Job& job, const Answer& answer) {
    net::HttpAnswer out;
    out.id = job.http;
    const Kind kind = answer.outcome.kind;
    if (job.rpc) {
        const bool good = kind == Kind::success;
        out.body =
            good ? wire::rpc_result(job.rpc->id, answer.object.empty() ? "null" : answer.object)
                 : wire::rpc_error(job.rpc->id, wire::rpc_code(kind), answer.outcome.message);
        return out;
    }
    out.status = wire::http_status(kind);
    out.body = answer.object.empty() ? wire::outcome_json(answer.outcome) : answer.object;
    if (job.route == Route::metrics) out.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return out;
}

}  // namespace dtm::server
