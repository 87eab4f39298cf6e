#include "wire/branch_call.hpp"

#include "wire/json.hpp"
#include "wire/rpc_branch.hpp"
#include "wire/text.hpp"

#include <algorithm>

namespace dtm::wire {

namespace {

using core::Op;
using core::Outcome;
using core::Request;
using core::Result;

// What is kept of a body as a reason. Enough for every business text; a row stays small.
constexpr std::size_t max_reason_bytes = 4096;

std::string_view without_fragment(std::string_view url) { return url.substr(0, url.find('#')); }

// Appends the URL as it goes on the wire: a Go client percent-encodes what is not ASCII, and the
// request line has no room for anything else. The host stays as it is (libcurl knows IDN).
void append_url(std::string& out, std::string_view url) {
    const std::size_t scheme = url.find("://");
    const std::size_t authority = scheme == url.npos ? 0 : scheme + 3;
    const std::size_t path = std::min(url.find_first_of("/?", authority), url.size());
    out.append(url, 0, path);
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (const char c : url.substr(path)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            out += c;
        } else {
            out += '%';
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
}

std::string url_with_parameters(std::string_view url, const BranchIdentity& identity) {
    url = without_fragment(url);
    std::string out;
    out.reserve(url.size() + identity.gid.size() + 64);
    append_url(out, url);
    const std::size_t question = url.find('?');
    if (question == url.npos) {
        out += '?';
    } else if (question + 1 < url.size()) {
        out += '&';
    }
    out += "branch_id=";
    append_query_escaped(out, identity.branch_id);
    out += "&gid=";
    append_query_escaped(out, identity.gid);
    out += "&op=";
    append_query_escaped(out, identity.op);
    out += "&trans_type=";
    append_query_escaped(out, identity.trans_type);
    return out;
}

// An xa's phase 2 has no body; services register POST only for it and for a workflow's callback,
// which may have an empty input (D26).
bool always_posts(const Request& request) {
    return request.type == core::TransType::xa || request.type == core::TransType::workflow;
}

bool has_header(const Request& request, std::string_view name) {
    for (const auto& [other, value] : request.options.branch_headers) {
        if (json::equal_ignoring_case(other, name)) return true;
    }
    return false;
}

std::shared_ptr<const std::vector<std::string>> headers(const Request& request) {
    static const auto plain = std::make_shared<const std::vector<std::string>>(
        std::vector<std::string>{"Content-Type: application/json", "Accept: application/json"});
    const auto& own = request.options.branch_headers;
    if (own.empty()) return plain;
    std::vector<std::string> out;
    out.reserve(2 + own.size());
    for (const std::string_view name : {"Content-Type", "Accept"}) {
        if (!has_header(request, name)) {
            out.push_back(std::string(name) + ": application/json");
        }
    }
    for (const auto& [name, value] : own) {
        // libcurl reads "Name:" as "do not send it" and "Name;" as "send it empty".
        std::string& line = out.emplace_back(name);
        if (value.empty()) {
            line += ';';
        } else {
            line.append(": ").append(value);
        }
    }
    return std::make_shared<const std::vector<std::string>>(std::move(out));
}

}  // namespace

std::string_view branch_url(const Request& request, std::uint32_t branch, Op op) {
    switch (op) {
        case Op::action:
            return request.branches.at(branch).action;
        case Op::compensate:
            return request.branches.at(branch).compensate;
        case Op::query:
            return request.query_prepared;
    }
    return {};
}

std::string_view op_name(const Request& request, Op op) {
    const core::TransType type = request.type;
    switch (op) {
        case Op::action:
            if (type == core::TransType::tcc) return "confirm";
            return type == core::TransType::xa ? "commit" : "action";
        case Op::compensate:
            if (type == core::TransType::tcc) return "cancel";
            return type == core::TransType::xa ? "rollback" : "compensate";
        case Op::query:
            if (type == core::TransType::workflow) return request.workflow_name;
            return "msg";  // dtm's name for the query-prepared question
    }
    return {};
}

BranchCall branch_call(const std::shared_ptr<const Request>& request, std::uint32_t branch, Op op,
                       const core::Policy& policy) {
    const bool query = op == Op::query;
    const std::string_view stored = branch_url(*request, branch, op);
    BranchIdentity identity;
    identity.gid = request->gid;
    identity.trans_type = core::to_string(request->type);
    identity.branch_id = query ? "00" : std::string_view(request->branches.at(branch).branch_id);
    identity.op = op_name(*request, op);
    // A message's question has no body, and its workflow_data is empty.
    const std::string_view payload =
        query ? request->workflow_data : request->payloads.at(request->branches.at(branch).step);

    BranchCall call;
    if (calls_json_rpc(request->protocol, stored)) {
        append_url(call.url, without_fragment(stored));
        auto body = std::make_shared<const std::string>(rpc_body(stored, identity, payload));
        call.body = *body;
        call.keep = std::move(body);
        call.post = true;
    } else {
        call.url = url_with_parameters(stored, identity);
        call.body = payload;
        call.keep = request;
        call.post = !payload.empty() || always_posts(*request);
    }
    call.headers = headers(*request);
    const auto own_timeout = request->options.request_timeout;
    call.timeout = own_timeout.count() > 0 ? own_timeout : policy.request_timeout;
    return call;
}

Outcome classify_http(long status, std::string_view body) {
    // No answer came: `body` is the transport's error text, not a participant's word.
    if (status == 0) return {Result::error, printable(body, max_reason_bytes)};
    if (status == 425 || body.find("ONGOING") != body.npos) {
        return {Result::ongoing, printable(body, max_reason_bytes)};
    }
    if (status == 409 || body.find("FAILURE") != body.npos) {
        constexpr std::string_view suffix = " FAILURE";
        if (body.ends_with(suffix)) body.remove_suffix(suffix.size());
        return {Result::failure, printable(body, max_reason_bytes - suffix.size()).append(suffix)};
    }
    if (status != 200) {
        if (body.empty()) {
            return {Result::error, "HTTP status " + std::to_string(status) + " with an empty body"};
        }
        return {Result::error, printable(body, max_reason_bytes)};
    }
    return {Result::success, {}};
}

Outcome classify(const Request& request, std::uint32_t branch, Op op, long status,
                 std::string_view body) {
    Outcome outcome = classify_http(status, body);
    const bool rpc = calls_json_rpc(request.protocol, branch_url(request, branch, op));
    return rpc && outcome.result == Result::success ? classify_rpc(body) : outcome;
}

std::string alert_body(std::string_view gid, core::Status status, std::string_view branch_url,
                       std::string_view error, std::uint32_t retry_count) {
    std::string out = "{\"gid\":";
    json::append_string(out, gid);
    out += ",\"status\":";
    json::append_string(out, core::to_string(status));
    out += ",\"branch\":";
    json::append_string(out, branch_url);
    out += ",\"error\":";
    json::append_string(out, printable(error, max_reason_bytes));
    out += ",\"retry_count\":";
    json::append_integer(out, retry_count);
    out += '}';
    return out;
}

}  // namespace dtm::wire
