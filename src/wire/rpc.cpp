// parse_rpc(): the envelope of JSON-RPC, judged in dtm's order (dtm-compat.md Part 3).
#include "wire/api_request.hpp"
#include "wire/fields.hpp"
#include "wire/rules.hpp"

#include <algorithm>
#include <array>

namespace dtm::wire {

namespace {

using json::Kind;
using json::Value;

constexpr int undecodable = -32700;
constexpr int invalid = -32600;
constexpr int unknown_method = -32601;

// In the order of RpcMethod.
constexpr std::array<std::string_view, 5> methods{"newGid", "prepare", "submit", "abort",
                                                  "registerBranch"};

class Envelope {
public:
    explicit Envelope(std::unique_ptr<json::Document> document) : document_(std::move(document)) {}

    RpcRead read() {
        const Value root = document_->root();
        if (root.kind() != Kind::object) {
            return fault(undecodable, "the request must be an object, not " +
                                          std::string(json::article(root.kind())));
        }
        // `id` first: a fault in the others is answered with it.
        for (const auto& [name, text] : {std::pair{"id", &id_}, std::pair{"jsonrpc", &version_},
                                         std::pair{"method", &method_}}) {
            const Value value = root.find(name);
            if (value.is_null()) continue;
            if (value.kind() != Kind::string) {
                return fault(undecodable, std::string(name) + " must be a string, not " +
                                              std::string(json::article(value.kind())));
            }
            *text = value.string();
        }
        if (version_ != "2.0" || id_.empty()) return fault(invalid, objection());
        const auto* const method = std::ranges::find(methods, method_);
        if (method == methods.end()) {
            return fault(unknown_method, "there is no method " + quoted(method_) +
                                             "; there are newGid, prepare, submit, abort and "
                                             "registerBranch");
        }
        RpcRead out;
        out.call.emplace();
        out.call->params = root.find("params");
        out.call->id = std::move(id_);
        out.call->method = static_cast<RpcMethod>(method - methods.begin());
        out.call->document = std::move(document_);
        return out;
    }

private:
    std::string objection() const {
        return "a request has \"jsonrpc\":\"2.0\" and a string \"id\" that is not empty; this is "
               "{\"jsonrpc\":" +
               quoted(version_) + ",\"id\":" + quoted(id_) + ",\"method\":" + quoted(method_) + "}";
    }

    RpcRead fault(int code, std::string message) {
        RpcRead out;
        out.fault = {code, std::move(id_), std::move(message)};
        return out;
    }

    std::unique_ptr<json::Document> document_;
    std::string id_, version_, method_;
};

}  // namespace

RpcRead parse_rpc(std::string_view text, const Limits& limits) {
    try {
        check_size(text, limits);
        // What follows the object is not looked at (dtm-compat.md 1.1.1).
        return Envelope(
                   std::make_unique<json::Document>(text, limits.max_depth, json::Trailing::ignore))
            .read();
    } catch (const json::SyntaxError& error) {
        RpcRead out;
        out.fault = {
            undecodable,
            {},
            std::string(error.what()) + " (byte " + std::to_string(error.offset + 1) + ")"};
        return out;
    } catch (const BadRequest& error) {
        RpcRead out;
        out.fault = {undecodable, {}, error.what()};
        return out;
    }
}

}  // namespace dtm::wire
