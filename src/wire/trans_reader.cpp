// See trans_reader.hpp.
#include "wire/trans_reader.hpp"

#include "wire/fields.hpp"
#include "wire/rules.hpp"
#include "wire/steps.hpp"
#include "wire/workflow.hpp"

namespace dtm::wire {

using core::TransType;
using json::Kind;
using json::Value;

TransReader::TransReader(Value object, const TopicLookup& topics, const Limits& limits)
    : object_(object), topics_(topics), limits_(limits) {
    check_object(top_, object);
}

std::string_view TransReader::text(std::string_view name) const {
    return read_string(Path(top_, name), object_.find(name));
}

void TransReader::read_gid() {
    const Value value = object_.find("gid");
    if (!value.is_null() && value.kind() != Kind::string) {
        wrong_kind(Path(top_, "gid"), "a string", value);
    }
    if (value.is_null() || value.string().empty()) return;
    check_gid(value.string(), limits_);
    request_.gid = value.string();
}

std::string_view TransReader::type_name() const { return text("trans_type"); }

bool TransReader::read_type() {
    const auto type = core::parse_trans_type(type_name());
    if (type) request_.type = *type;
    return type.has_value();
}

void TransReader::read_call(bool with_steps) {
    read_protocol();
    if (with_steps) read_steps(object_, topics_, limits_, request_);
    read_options();
    if (request_.type == TransType::msg || request_.type == TransType::workflow) {
        request_.query_prepared = text("query_prepared");
        check_url(Path(top_, "query_prepared"), request_.query_prepared);
    }
    read_custom_data();
}

void TransReader::read_protocol() {
    const Path path(top_, "protocol");
    const std::string_view name = text("protocol");
    if (name.empty() || name == "http") return;
    if (name == "grpc") {
        path.fail("protocol \"grpc\" is not supported by this version",
                  "This version calls branches over HTTP: leave protocol out, or say \"http\" or "
                  "\"json-rpc\".");
    }
    if (name != "json-rpc") {
        path.fail("unknown protocol " + quoted(name), "protocol is \"http\" or \"json-rpc\".");
    }
    request_.protocol = name;
}

void TransReader::read_options() {
    core::Options& options = request_.options;
    const auto flag = [&](std::string_view name) {
        return read_bool(Path(top_, name), object_.find(name));
    };
    const auto seconds = [&](std::string_view name) {
        return read_seconds(Path(top_, name), object_.find(name));
    };
    options.wait_result = flag("wait_result");
    options.exact_progress = flag("exact_progress");
    options.timeout_to_fail = seconds("timeout_to_fail");
    options.request_timeout = seconds("request_timeout");
    options.retry_interval = seconds("retry_interval");
    options.retry_limit = static_cast<std::uint32_t>(
        read_count(Path(top_, "retry_limit"), object_.find("retry_limit"), UINT32_MAX));
    // Clients send `concurrent` with sagas, too, where it means nothing.
    const bool concurrent = flag("concurrent");
    if (request_.type == TransType::msg) options.concurrent = concurrent;
    read_headers();
}

void TransReader::read_headers() {
    const Path path(top_, "branch_headers");
    const Value headers = object_.find("branch_headers");
    if (headers.is_null()) return;
    if (headers.kind() != Kind::object) {
        wrong_kind(path, "an object of header names and values", headers);
    }
    if (headers.size() > limits_.max_headers) {
        path.fail("there are " + std::to_string(headers.size()) + " headers, the limit is " +
                  std::to_string(limits_.max_headers));
    }
    auto& kept = request_.options.branch_headers;
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const auto [name, value] = headers.member(i);
        const Path header_path(path, name);
        if (value.is_null()) continue;
        if (value.kind() != Kind::string) wrong_kind(header_path, "a string", value);
        const std::string_view text = trimmed(value.string());
        check_header(header_path, name, text);
        for (const auto& [other, other_text] : kept) {
            if (json::equal_ignoring_case(other, name)) {
                header_path.fail("the header " + quoted(name) + " is given twice",
                                 "Upper and lower case make no difference in header names.");
            }
        }
        kept.emplace(name, text);
    }
}

void TransReader::read_custom_data() {
    const Path path(top_, "custom_data");
    const std::string_view text = read_string(path, object_.find("custom_data"),
                                              "custom_data is JSON text inside of a string.");
    switch (request_.type) {
        case TransType::tcc:
        case TransType::xa:
            request_.custom_data = text;
            return;
        case TransType::workflow:
            request_.custom_data = text;
            read_workflow(path, request_);
            return;
        case TransType::msg:
        case TransType::saga:
            if (!text.empty()) read_custom_object(path, text);
            return;
    }
}

void TransReader::read_custom_object(const Path& path, std::string_view text) {
    const json::Document document = parse_text(path, text, limits_.max_depth);
    const Value data = document.root();
    if (data.is_null()) return;
    if (data.kind() != Kind::object) wrong_kind(path, "the JSON text of an object", data);
    if (request_.type == TransType::msg) {
        request_.options.delay = read_seconds(Path(path, "delay"), data.find("delay"));
        return;
    }
    request_.options.concurrent = read_bool(Path(path, "concurrent"), data.find("concurrent"));
    read_orders(Path(path, "orders"), data.find("orders"), request_);
}

}  // namespace dtm::wire
