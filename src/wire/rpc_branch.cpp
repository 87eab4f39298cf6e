// See rpc_branch.hpp.
#include "wire/rpc_branch.hpp"

#include "wire/fields.hpp"
#include "wire/query.hpp"
#include "wire/text.hpp"

namespace dtm::wire {

namespace {

using core::Outcome;
using core::Result;
using json::Kind;
using json::Value;

// Whose nesting it is, is not ours to limit: this only bounds the stack.
constexpr int max_depth = 500;
constexpr std::size_t max_reason_bytes = 4096;

std::string method_of(std::string_view url) {
    url = url.substr(0, url.find('#'));
    const std::size_t question = url.find('?');
    if (question == url.npos) return {};
    url.remove_prefix(question + 1);
    while (!url.empty()) {
        auto [name, value] = take_parameter(url);
        if (name == "method") return std::move(value);
    }
    return {};
}

// Members of the payload that the identity does not overwrite, each with a comma behind it.
void append_members(std::string& out, std::string_view payload) {
    try {
        const json::Document document(payload, max_depth);
        const Value root = document.root();
        if (root.kind() != Kind::object) return;
        for (std::size_t i = 0; i < root.size(); ++i) {
            const auto [name, value] = root.member(i);
            if (name == "gid" || name == "trans_type" || name == "branch_id" || name == "op") {
                continue;
            }
            json::append_string(out, name);
            json::append_value(out += ':', value);
            out += ',';
        }
    } catch (const json::SyntaxError&) {}
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
    json::append_string(out, name);
    json::append_string(out += ':', value);
}

// Some services say -32901, some "-32901"; 0 is no code that means anything here.
long code_of(Value code) {
    if (code.kind() == Kind::integer) {
        const auto number = code.integer();
        return number && *number > -100000 && *number < 0 ? static_cast<long>(*number) : 0;
    }
    const bool text = code.kind() == Kind::string;
    std::string spelled = text ? std::string(code.string()) : std::string();
    if (code.kind() == Kind::real) json::append_value(spelled, code);
    if (spelled == "-32901") return -32901;
    return spelled == "-32902" ? -32902 : 0;
}

}  // namespace

bool calls_json_rpc(std::string_view protocol, std::string_view url) {
    return protocol == "json-rpc" && url.find("method") != std::string_view::npos;
}

void check_rpc_payload(const Path& path, std::string_view payload) {
    if (payload.empty()) return;
    constexpr const char* hint = "The payload of a JSON-RPC branch becomes the params of its call.";
    try {
        const json::Document document(payload, max_depth);
        const Kind kind = document.root().kind();
        if (kind == Kind::null || kind == Kind::object) return;
        wrong_kind(path, "the JSON text of an object", document.root(), hint);
    } catch (const json::SyntaxError& error) {
        path.fail(path.name() + " must be the JSON text of an object: " + error.what() + " (byte " +
                      std::to_string(error.offset + 1) + ")",
                  hint);
    }
}

std::string rpc_body(std::string_view url, const BranchIdentity& identity,
                     std::string_view payload) {
    std::string out = R"({"jsonrpc":"2.0",)";
    out.reserve(payload.size() + 256);
    append_member(out, "method", printable(method_of(url), url.size()));
    // Unique among the calls in flight: of one operation there is one at a time.
    std::string id(identity.gid);
    id.append("-").append(identity.branch_id).append("-").append(identity.op);
    append_member(out += ',', "id", id);
    out += R"(,"params":{)";
    append_members(out, payload);
    append_member(out, "gid", identity.gid);
    append_member(out += ',', "trans_type", identity.trans_type);
    append_member(out += ',', "branch_id", identity.branch_id);
    append_member(out += ',', "op", identity.op);
    return out += "}}";
}

Outcome classify_rpc(std::string_view body) {
    try {
        const json::Document document(body, max_depth);
        const Value root = document.root();
        if (root.kind() != Kind::object) {
            return {Result::error, "the JSON-RPC answer is " +
                                       std::string(json::article(root.kind())) +
                                       ", not an object: " + printable(body, max_reason_bytes)};
        }
        const Value error = root.find("error");
        if (error.is_null()) return {Result::success, {}};
        switch (code_of(error.find("code"))) {
            case -32901:
                return {Result::failure, printable(body, max_reason_bytes - 8).append(" FAILURE")};
            case -32902:
                return {Result::ongoing, printable(body, max_reason_bytes)};
            default:
                return {Result::error, printable(body, max_reason_bytes)};
        }
    } catch (const json::SyntaxError& error) {
        return {Result::error, "the JSON-RPC answer cannot be read, " + std::string(error.what()) +
                                   ": " + printable(body, max_reason_bytes)};
    }
}

}  // namespace dtm::wire
