// See api_answer.hpp.
#include "wire/api_answer.hpp"

#include "wire/json.hpp"
#include "wire/object_writer.hpp"
#include "wire/text.hpp"

#include <cstdio>

namespace dtm::wire {

namespace {

using core::TransType;
using json::append_integer;
using json::append_string;

void append_message(std::string& out, std::string_view message) {
    append_string(out, printable(message, message.size()));
}

// Clients keep ids in 32 signed bits. FNV-1a.
std::int64_t number_of(std::string_view name) {
    std::uint32_t hash = 2166136261U;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
    hash &= 0x7FFFFFFFU;
    return hash == 0 ? 1 : hash;
}

class AnswerWriter : public ObjectWriter {
public:
    AnswerWriter(std::string& out, TimeText time_text) : ObjectWriter(out), time_text_(time_text) {}
    void time(std::string_view name, const std::optional<core::Time>& value) {
        if (value) append_string(key(name), time_text_(*value));
    }

private:
    TimeText time_text_;
};

std::string options_json(const core::Options& o) {
    std::string out;
    ObjectWriter object(out);
    object.flag("wait_result", o.wait_result);
    object.number("timeout_to_fail", o.timeout_to_fail.count());
    object.number("request_timeout", o.request_timeout.count());
    object.number("retry_interval", o.retry_interval.count());
    if (!o.branch_headers.empty()) append_map(object.key("branch_headers"), o.branch_headers);
    object.key("concurrent") += o.concurrent ? "true" : "false";
    object.number("retry_limit", o.retry_limit);
    object.end();
    return out;
}

// {"2":[0,1]}, "" when no step waits for another.
std::string orders_json(const core::Request& request) {
    std::string out;
    const char* separator = "{";
    for (std::size_t i = 0; i < request.branches.size(); ++i) {
        const auto& after = request.branches[i].after;
        if (after.empty()) continue;
        out += separator;
        separator = ",";
        out.append("\"").append(std::to_string(i)).append("\":");
        const char* comma = "[";
        for (const std::uint32_t p : after) {
            append_integer(out += comma, p);
            comma = ",";
        }
        out += ']';
    }
    if (!out.empty()) out += '}';
    return out;
}

// Of saga and msg the values in it are kept, not the text (dtm-compat.md 1.4.1).
std::string custom_data(const core::Request& request) {
    std::string out;
    ObjectWriter object(out);
    switch (request.type) {
        case TransType::msg:
            object.number("delay", request.options.delay.count());
            break;
        case TransType::saga:
            object.flag("concurrent", request.options.concurrent);
            if (std::string orders = orders_json(request); !orders.empty()) {
                object.key("orders") += orders;
            }
            break;
        default:
            return request.custom_data;
    }
    object.end();
    return out == "{}" ? std::string() : out;
}

}  // namespace

unsigned http_status(ApiOutcome::Kind kind) {
    switch (kind) {
        case ApiOutcome::Kind::success:
            return 200;
        case ApiOutcome::Kind::failure:
            return 409;
        case ApiOutcome::Kind::ongoing:
            return 425;
        case ApiOutcome::Kind::bad_body:
            return 400;
        case ApiOutcome::Kind::unavailable:
            return 503;
        case ApiOutcome::Kind::error:
            break;
    }
    return 500;
}

std::string outcome_json(const ApiOutcome& outcome) {
    using Kind = ApiOutcome::Kind;
    if (outcome.kind == Kind::success) return R"({"dtm_result":"SUCCESS"})";
    std::string out;
    ObjectWriter object(out);
    if (outcome.kind == Kind::failure) object.text("dtm_result", "FAILURE");
    if (outcome.kind == Kind::ongoing) object.text("dtm_result", "ONGOING");
    append_message(object.key("message"), outcome.message);
    object.end();
    return out;
}

ApiOutcome refusal(const BadRequest& bad) {
    const bool undecodable = dynamic_cast<const BadBody*>(&bad) != nullptr;
    ApiOutcome outcome{undecodable ? ApiOutcome::Kind::bad_body : ApiOutcome::Kind::error,
                       bad.what()};
    if (!bad.hint.empty()) outcome.message.append(". ").append(bad.hint);
    if (bad.path != "$") outcome.message.append(" (").append(bad.path).append(")");
    return outcome;
}

std::string rpc_result(std::string_view id, std::string_view result) {
    std::string out = R"({"error":null,"id":)";
    append_string(out, id);
    out += R"(,"jsonrpc":"2.0","result":)";
    return out.append(result).append("}");
}

std::string rpc_error(std::string_view id, int code, std::string_view message) {
    std::string out = R"({"error":{"code":)";
    append_integer(out, code);
    append_message(out += R"(,"message":)", message);
    append_string(out += R"(},"id":)", id);
    return out += R"(,"jsonrpc":"2.0","result":{}})";
}

int rpc_code(ApiOutcome::Kind kind) { return kind == ApiOutcome::Kind::failure ? -32901 : -32603; }

std::string rfc3339(core::Time time) {
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    char text[64];
    std::snprintf(
        text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%06d", static_cast<int>(date.year()),
        static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
        static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
        static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
    std::string out = text;
    out.erase(out.find_last_not_of('0') + 1);
    if (out.back() == '.') out.pop_back();
    return out += 'Z';
}

std::string transaction_json(const TransactionAnswer& t, TimeText time_text) {
    std::string out;
    AnswerWriter object(out, time_text);
    object.number("id", number_of(t.gid));
    object.time("create_time", t.create_time);
    object.time("update_time", t.update_time);
    object.text("gid", t.gid);
    object.text("trans_type", t.trans_type);
    object.text("status", t.status);
    if (t.request != nullptr) {
        object.text("query_prepared", t.request->query_prepared);
        object.text("protocol", t.request->protocol);
    }
    object.time("finish_time", t.finish_time);
    object.time("rollback_time", t.rollback_time);
    object.text("result", t.result);
    object.text("rollback_reason", t.rollback_reason);
    if (t.request != nullptr) {
        object.text("options", options_json(t.request->options));
        object.text("custom_data", custom_data(*t.request));
    }
    object.number("next_cron_interval", t.next_cron_interval.value_or(0));
    object.time("next_cron_time", t.next_cron_time);
    object.text("owner", t.owner);
    const bool concurrent = t.request != nullptr && t.request->options.concurrent;
    object.key("concurrent") += concurrent ? "true" : "false";
    object.end();
    return out;
}

std::string branch_json(const BranchAnswer& b, TimeText time_text) {
    std::string out;
    AnswerWriter object(out, time_text);
    append_integer(object.key("id"), b.id);
    object.time("create_time", b.create_time);
    object.time("update_time", b.update_time);
    object.text("gid", b.gid);
    object.text("url", b.url);
    object.text("bin_data", base64(b.bin_data));
    object.text("branch_id", b.branch_id);
    object.text("op", b.op);
    object.text("status", b.status);
    object.time("finish_time", b.finish_time);
    object.end();
    return out;
}

std::string kv_json(const KvAnswer& kv) {
    std::string out;
    AnswerWriter object(out, rfc3339);
    object.number("id", number_of(std::string(kv.cat).append("/").append(kv.k)));
    object.time("create_time", kv.create_time);
    object.time("update_time", kv.update_time);
    append_string(object.key("cat"), kv.cat);
    append_string(object.key("k"), kv.k);
    append_string(object.key("v"), kv.v);
    append_integer(object.key("version"), kv.version);
    object.end();
    return out;
}

std::string json_list(std::span<const std::string> elements) {
    std::string out = "[";
    const char* separator = "";
    for (const std::string& element : elements) {
        (out += separator) += element;
        separator = ",";
    }
    return out += ']';
}

std::string json_object(std::span<const std::pair<std::string_view, std::string>> members) {
    std::string out = "{";
    const char* separator = "";
    for (const auto& [name, value] : members) {
        append_string(out += separator, name);
        (out += ':') += value;
        separator = ",";
    }
    return out += '}';
}

std::string json_string(std::string_view text) {
    std::string out;
    append_string(out, text);
    return out;
}

}  // namespace dtm::wire
