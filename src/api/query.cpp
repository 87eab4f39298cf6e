// dtm_query: a transaction and its branches in the shape of dtm's GET query (dtm-compat.md 1.6),
// but without `id`, which we do not have. What is unset is left out.
#include "api/progress.hpp"
#include "api/result.hpp"
#include "api/stored_progress.hpp"
#include "store/access.hpp"
#include "wire/json.hpp"

namespace dtm::api {

namespace {

class Object {
public:
    void raw(std::string_view name, std::string_view json) {
        text_ += text_.empty() ? "{\"" : ",\"";
        text_ += name;
        text_ += "\":";
        text_ += json;
    }
    void text(std::string_view name, std::string_view value) {
        if (value.empty()) return;
        std::string json;
        wire::json::append_string(json, value);
        raw(name, json);
    }
    void opt_text(std::string_view name, const std::optional<std::string>& value) {
        if (value) text(name, *value);
    }
    void time(std::string_view name, const std::optional<pg::UnixTime>& value) {
        if (value) text(name, json_time(*value));
    }
    void number(std::string_view name, std::int64_t value) {
        if (value != 0) raw(name, std::to_string(value));
    }
    std::string finish() { return text_.empty() ? "{}" : std::move(text_) + "}"; }

private:
    std::string text_;
};

std::string base64(std::string_view bytes) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            group =
                group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U);
        }
        for (std::size_t k = 0; k < 4; ++k) {
            out += i + k <= bytes.size() ? digits[group >> (18 - 6 * k) & 63] : '=';
        }
    }
    return out;
}

std::string options_json(const core::Options& o) {
    Object json;
    if (o.wait_result) json.raw("wait_result", "true");
    json.number("timeout_to_fail", o.timeout_to_fail.count());
    json.number("request_timeout", o.request_timeout.count());
    json.number("retry_interval", o.retry_interval.count());
    if (!o.branch_headers.empty()) {
        Object headers;
        for (const auto& [name, value] : o.branch_headers) {
            std::string key;
            wire::json::append_string(key, name);
            headers.text(std::string_view(key).substr(1, key.size() - 2), value);
        }
        json.raw("branch_headers", headers.finish());
    }
    json.raw("concurrent", o.concurrent ? "true" : "false");
    json.number("retry_limit", o.retry_limit);
    return json.finish();
}

// What of the request dtm keeps apart from the options (dtm-compat.md 1.4.1).
std::string custom_data(const core::Request& request) {
    if (request.options.delay.count() > 0) {
        return "{\"delay\":" + std::to_string(request.options.delay.count()) + "}";
    }
    if (!request.custom_data.empty()) return request.custom_data;
    if (request.type != core::TransType::saga || !request.options.concurrent) return "";
    std::string orders;
    for (std::size_t i = 0; i < request.branches.size(); ++i) {
        std::string list;
        for (const std::uint32_t p : request.branches[i].after) {
            list += (list.empty() ? "" : ",") + std::to_string(p);
        }
        if (list.empty()) continue;
        orders += (orders.empty() ? "\"" : ",\"") + std::to_string(i) + "\":[" + list + "]";
    }
    return R"({"concurrent":true)" + (orders.empty() ? "" : ",\"orders\":{" + orders + "}") + "}";
}

std::string transaction_json(const store::Stored& row, const Progress& progress) {
    Object json;
    json.time("create_time", row.create_time);
    json.time("update_time", row.update_time);
    json.text("gid", row.gid);
    json.text("trans_type", row.trans_type);
    json.text("status", row.status);
    if (progress.unreadable.empty()) {
        json.text("query_prepared", progress.request.query_prepared);
        json.text("protocol", progress.request.protocol);
    }
    json.time("finish_time", row.finish_time);
    json.time("rollback_time", row.rollback_time);
    json.opt_text("result", row.result);
    json.opt_text("rollback_reason", row.rollback_reason);
    json.text("options", options_json(progress.request.options));
    json.text("custom_data", custom_data(progress.request));
    json.number("next_cron_interval", row.next_cron_interval.value_or(0));
    json.time("next_cron_time", row.next_cron_time);
    json.text("owner", row.owner);
    json.raw("concurrent", progress.request.options.concurrent ? "true" : "false");
    return json.finish();
}

std::string branches_json(const store::Stored& row, const Progress& progress) {
    std::string all = "[";
    for (const Operation& o : operations(progress)) {
        Object json;
        json.time("create_time", o.recorded() ? *o.life->finished : row.create_time);
        json.time("update_time", o.life->finished ? *o.life->finished : row.update_time);
        json.text("gid", row.gid);
        json.text("url", o.url);
        if (o.op != core::Op::query) json.text("bin_data", base64(o.data));
        json.text("branch_id", o.branch_id);
        json.text("op", o.op_name);
        json.text("status", core::to_string(o.life->status));
        json.time("finish_time", o.life->finished);
        if (all.size() > 1) all += ',';
        all += json.finish();
    }
    return all += ']';
}

std::string query(std::string_view gid) {
    const Oid viewer = GetUserId();
    const store::AsOwner as_owner;
    const auto row = store::find(gid, viewer);
    if (!row) return R"({"transaction":null,"branches":[]})";
    const Progress progress = read_progress(texts_of(*row));
    return "{\"transaction\":" + transaction_json(*row, progress) +
           ",\"branches\":" + branches_json(*row, progress) + "}";
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_query) { return api::jsonb_datum(api::query(pg::text_arg(fcinfo, 0))); }
