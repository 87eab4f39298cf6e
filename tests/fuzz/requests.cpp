// Targets: what clients send.
#include "targets.hpp"

#include "core/decide.hpp"
#include "wire/api_answer.hpp"
#include "wire/api_request.hpp"
#include "wire/branch_call.hpp"
#include "wire/branch_query.hpp"
#include "wire/stored.hpp"

namespace dtm::fuzz {

namespace {

using core::Command;
using core::Op;
using wire::BadRequest;

std::vector<std::string> topics(std::string_view topic) {
    if (topic == "one") return {"http://s1/a"};
    if (topic == "two") return {"http://s1/a", "http://s2/b?method=m"};
    return {};
}

Command command_of(char letter) {
    switch (letter) {
        case 'p':
            return Command::prepare;
        case 'a':
            return Command::abort;
        case 'f':
            return Command::force_stop;
        case 'h':
            return Command::hurry;
        case 'w':
            return Command::prepare_workflow;
        default:
            return Command::submit;
    }
}

void check_refusal(const BadRequest& bad) {
    must(bad.path.starts_with('$'), "a refusal names a path", bad.path);
    must(*bad.what() != '\0', "a refusal has a message", bad.path);
    const std::string json = wire::outcome_json(wire::refusal(bad));
    const wire::json::Document document(json, 4);
    must(!document.root().find("message").is_null(), "a refusal can be answered", json);
}

void check_call(const std::shared_ptr<const core::Request>& request, std::uint32_t branch, Op op) {
    if (wire::branch_url(*request, branch, op).empty()) return;
    const wire::BranchCall call = wire::branch_call(request, branch, op, {});
    const std::size_t authority = call.url.find("://") + 3;
    const std::size_t path = std::min(call.url.find_first_of("/?", authority), call.url.size());
    for (std::size_t i = 0; i < call.url.size(); ++i) {
        const auto c = static_cast<unsigned char>(call.url[i]);
        must(c > 0x20 && c != 0x7F && (c < 0x80 || i < path), "a URL fits into a request line",
             call.url);
    }
    must(call.post || call.body.empty(), "GET has no body", call.url);
    for (const std::string& header : *call.headers) {
        must(header.find_first_of("\r\n") == header.npos, "a header is one line", header);
    }
}

void check_calls(const core::Request& request) {
    const auto shared = std::make_shared<const core::Request>(request);
    for (std::uint32_t i = 0; i < request.branches.size(); ++i) {
        check_call(shared, i, Op::action);
        check_call(shared, i, Op::compensate);
    }
    check_call(shared, 0, Op::query);
}

// What is accepted survives its way into the row and back.
void check_storable(const core::Request& request) {
    const std::string text = wire::encode_request(request);
    must(text.find_first_of(std::string_view("\0\n", 2)) == text.npos, "a row's text is one line",
         text);
    const core::Request back = wire::decode_request(request.gid, request.type, text);
    must(same(back, request), "what is stored is read back", text);
    must(wire::encode_request(back) == text, "and written alike", text);
    wire::TransactionAnswer answer;
    answer.gid = request.gid;
    answer.request = &request;
    const std::string json = wire::transaction_json(answer);
    const wire::json::Document document(json, 4);
    must(document.root().find("gid").string() == request.gid, "the answer is JSON", json);
}

void check_trans(const wire::TransCall& call, Command command) {
    wire::check_gid(call.request.gid);
    must(call.command == command || (command == Command::submit && call.command == Command::finish),
         "the command is the one that was asked for");
    if (call.command == Command::prepare || call.command == Command::submit ||
        call.command == Command::prepare_workflow) {
        check_storable(call.request);
        check_calls(call.request);
    }
}

// The registered branch in its request: called, shown.
void check_registered(const wire::Registration& registration) {
    auto request = std::make_shared<core::Request>();
    request->gid = registration.gid;
    request->type = registration.type;
    for (const char* protocol : {"http", "json-rpc"}) {
        request->protocol = protocol;
        wire::add_registered(*request, registration);
        check_calls(*request);
    }
    core::State state = core::initial_state(*request, core::Status::prepared, {});
    wire::decode_progress(*request, wire::encode_progress(state), state);
    wire::BranchAnswer answer;
    answer.branch_id = registration.branch_id;
    answer.bin_data = registration.data;
    const std::string json = wire::branch_json(answer);
    const wire::json::Document document(json, 4);
    must(document.root().find("branch_id").string() == registration.branch_id,
         "a branch's answer is JSON", json);
    const wire::json::Value data = document.root().find("bin_data");
    must(data.is_null() ? registration.data.empty()
                        : wire::unbase64(data.string()) == registration.data,
         "its data are there", json);
}

}  // namespace

void trans(std::string_view input) {
    if (input.empty()) return;
    const Command command = command_of(input[0]);
    try {
        check_trans(wire::parse_trans(input.substr(1), command, topics), command);
    } catch (const BadRequest& bad) {
        check_refusal(bad);
    }
}

void registration(std::string_view input) {
    try {
        const wire::Registration read = wire::parse_registration(input);
        wire::check_gid(read.gid);
        must(!read.branch_id.empty(), "a branch has an id");
        if (read.type == core::TransType::workflow) {
            must(!read.op.empty(), "a step has an op");
        } else {
            check_registered(read);
        }
    } catch (const BadRequest& bad) {
        check_refusal(bad);
    }
}

void rpc(std::string_view input) {
    wire::RpcRead read = wire::parse_rpc(input);
    const std::string& id = read.call ? read.call->id : read.fault.id;
    const std::string answer = read.call ? wire::rpc_result(id, "null")
                                         : wire::rpc_error(id, read.fault.code, read.fault.message);
    const wire::json::Document document(answer, 4);
    must(document.root().find("id").string() == id, "the answer carries the id", answer);
    if (!read.call) {
        const int code = read.fault.code;
        must(code == -32700 || code == -32600 || code == -32601, "a fault has a code of dtm's");
        return;
    }
    must(!id.empty(), "a call has an id");
    try {
        if (read.call->method == wire::RpcMethod::register_branch) {
            check_registered(wire::parse_registration(read.call->params));
        } else if (read.call->method != wire::RpcMethod::new_gid) {
            check_trans(wire::parse_trans(read.call->params, Command::submit, topics),
                        Command::submit);
        }
    } catch (const BadRequest& bad) {
        check_refusal(bad);
    }
}

void target(std::string_view input) {
    (void)wire::parse_branch_query(input);
    (void)wire::parse_target(input);
    // What was escaped is found again.
    const std::string_view gid = input.substr(0, input.size() / 2);
    const std::string_view op = input.substr(gid.size());
    std::string made = "/p?gid=";
    wire::append_query_escaped(made, gid);
    made += "&op=";
    wire::append_query_escaped(made, op);
    const wire::Target read = wire::parse_target(made);
    must(read.path == "/p" && read.parameters.at("gid") == gid && read.parameters.at("op") == op,
         "parameters are read back", made);
    const wire::BranchQuery query = wire::parse_branch_query(made);
    must(query.gid == gid && query.op == op && !query.ambiguous, "a branch's query is read back",
         made);
}

}  // namespace dtm::fuzz
