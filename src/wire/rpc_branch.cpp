// See rpc_branch.hpp.
#include "wire/rpc_branch.hpp"

#include "wire/fields.hpp"
#include "wire/query.hpp"
#include "wire/text.hpp"

#include <algorithm>
#include <cmath>

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

// Walks over the members of an object, known to be valid JSON, as they are spelled: a payload's
// numbers must arrive as they were sent, and reading and printing them would change some.
class Members {
public:
    explicit Members(std::string_view object) : rest_(object.substr(object.find('{') + 1)) {}

    // The next member, `"key" : value`; "" after the last.
    std::string_view next() {
        rest_.remove_prefix(std::min(rest_.find_first_of("\"}"), rest_.size()));
        const std::size_t end = end_of_member();
        const std::string_view member = rest_.substr(0, end);
        rest_.remove_prefix(end);
        return member;
    }

    // The key of a member, unescaped.
    static std::string key(std::string_view member) {
        const json::Document document(member.substr(0, end_of_string(member, 0)), 1);
        return std::string(document.root().string());
    }

private:
    static std::size_t end_of_string(std::string_view text, std::size_t at) {
        for (++at; at < text.size() && text[at] != '"'; ++at) {
            if (text[at] == '\\') ++at;
        }
        return std::min(at + 1, text.size());
    }

    std::size_t end_of_member() const {
        int depth = 0;
        for (std::size_t at = 0; at < rest_.size();) {
            const char c = rest_[at];
            if (depth == 0 && (c == ',' || c == '}')) return at;
            if (c == '"') {
                at = end_of_string(rest_, at);
                continue;
            }
            if (c == '{' || c == '[') ++depth;
            if (c == '}' || c == ']') --depth;
            ++at;
        }
        return rest_.size();
    }

    std::string_view rest_;
};

bool is_object(std::string_view payload) {
    try {
        return json::Document(payload, max_depth).root().kind() == Kind::object;
    } catch (const json::SyntaxError&) {
        return false;
    }
}

// Members of the payload that the identity does not overwrite, each with a comma behind it.
void append_members(std::string& out, std::string_view payload) {
    if (!is_object(payload)) return;
    Members members(payload);
    for (std::string_view member = members.next(); !member.empty(); member = members.next()) {
        const std::string key = Members::key(member);
        if (key == "gid" || key == "trans_type" || key == "branch_id" || key == "op") continue;
        out.append(member).append(",");
    }
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
    json::append_string(out, name);
    json::append_string(out += ':', value);
}

// Some services say -32901, some "-32901"; 0 is no code that means anything here.
long code_of(Value code) {
    for (const long known : {-32901L, -32902L}) {
        const bool same = code.kind() == Kind::integer ? code.integer() == known
                          : code.kind() == Kind::real  ? std::fabs(code.real() - known) < 0.5
                                                       : code.kind() == Kind::string &&
                                                            code.string() == std::to_string(known);
        if (same) return known;
    }
    return 0;
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
