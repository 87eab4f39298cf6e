// Reads what clients of dtm send (dtm-compat.md 1.1.1, 1.4, 1.5, Part 3): the transaction object of
// prepare, submit, abort, forceStop, resetNextCronTime and prepareWorkflow, the flat map of
// registerBranch, the JSON-RPC envelope and targets. Bytes in, values out. As lenient as dtm where
// a client leans on it; the rest is BadRequest before anything is stored.
#pragma once

#include "core/command.hpp"
#include "wire/json.hpp"
#include "wire/request.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dtm::wire {

// One transaction object. What a command has no use for is not looked at (abort ignores steps).
struct TransCall {
    core::Command command = core::Command::submit;  // submit of a workflow becomes `finish`
    core::Request request;                          // force_stop and hurry: gid alone
    std::string rollback_reason;                    // abort, finish
    core::Status end = core::Status::succeed;       // finish: req_extra.status (D35: nothing else)
    std::string result;                             // finish: req_extra.result, base64 as received
};

// `command` is prepare, submit, abort, force_stop, prepare_workflow or hurry. A gid is required
// everywhere (D37: "no gid specified"), and checked (D31, D38). prepare, submit and
// prepare_workflow read everything, with the steps of msg and saga checked as parse_submit() does;
// tcc, xa and workflow have none. Throws BadRequest; "unknow trans type: T" for an unknown type.
TransCall parse_trans(std::string_view json, core::Command command, const TopicLookup& topics,
                      const Limits& limits = {});
TransCall parse_trans(json::Value object, core::Command command, const TopicLookup& topics,
                      const Limits& limits = {});

// A body that cannot be decoded where dtm answers 400 instead of 500 (1.7a).
class BadBody : public BadRequest {
public:
    using BadRequest::BadRequest;
};

// registerBranch (1.5.8). Values are strings or null; anything else is BadBody, and so is text that
// is no JSON. Text after the object is not looked at. What is wrong with a value is BadRequest.
struct Registration {
    std::string gid;
    core::TransType type = core::TransType::tcc;
    std::string branch_id;  // opaque, not empty, at most 128 bytes
    std::string op;      // workflow: action, commit, rollback, business …, likewise; else empty
    std::string url;     // tcc: confirm; xa: url (phase 2); workflow: empty
    std::string cancel;  // tcc: cancel; else empty
    core::BranchStatus status = core::BranchStatus::prepared;  // workflow: succeed or failed
    // Bytes, NUL not excluded: body of the phase-2 calls, result of a workflow's step.
    std::string data;
};
Registration parse_registration(std::string_view json, const Limits& limits = {});
Registration parse_registration(json::Value object, const Limits& limits = {});

enum class RpcMethod : std::uint8_t { new_gid, prepare, submit, abort, register_branch };

// The envelope of JSON-RPC (Part 3). The document owns `params`.
struct RpcCall {
    std::unique_ptr<json::Document> document;
    std::string id;
    RpcMethod method = RpcMethod::new_gid;
    json::Value params;
};
// What is wrong with the envelope, with dtm's code: -32700 (HTTP status 400), -32600, -32601 (200).
struct RpcFault {
    int code = -32700;
    std::string id;
    std::string message;
};
struct RpcRead {
    std::optional<RpcCall> call;
    RpcFault fault;  // when there is no call
};
RpcRead parse_rpc(std::string_view json, const Limits& limits = {});

// "/api/dtmsvr/query?gid=a%20b" → path "/api/dtmsvr/query", parameters decoded, first one of a name
// wins. Never throws; what cannot be decoded stays as it is.
struct Target {
    std::string path;
    std::map<std::string, std::string> parameters;
};
Target parse_target(std::string_view target);

}  // namespace dtm::wire
