#include "wire/request.hpp"

#include "wire/json.hpp"
#include "wire/path.hpp"
#include "wire/rules.hpp"
#include "wire/text.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace dtm::wire {

namespace {

using core::Branch;
using core::Request;
using core::TransType;
using json::Kind;
using json::Value;

// Ten years. A longer time is a mistake (milliseconds, say), and sums of times must not overflow.
constexpr std::int64_t max_seconds = std::int64_t{10} * 366 * 86400;

// "steps must be a list, not a string"
[[noreturn]] void wrong_kind(const Path& path, std::string_view wanted, Value value,
                             std::string hint = {}) {
    std::string message = path.name();
    message += " must be ";
    message += wanted;
    message += ", not ";
    message += json::article(value.kind());
    path.fail(std::move(message), std::move(hint));
}

json::Document parse_text(const Path& path, std::string_view text, int max_depth) {
    try {
        return json::Document(text, max_depth);
    } catch (const json::SyntaxError& error) {
        path.fail(std::string(error.what()) + " (byte " + std::to_string(error.offset + 1) + ")");
    }
}

bool read_bool(const Path& path, Value value) {
    if (value.is_null()) return false;
    if (value.kind() != Kind::boolean) wrong_kind(path, "true or false", value);
    return value.boolean();
}

// Text that will be stored: a text column cannot hold NUL.
std::string_view read_string(const Path& path, Value value, const char* hint = "") {
    if (value.is_null()) return {};
    if (value.kind() != Kind::string) wrong_kind(path, "a string", value, hint);
    const std::string_view text = value.string();
    if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
        path.fail(path.name() + " contains the character NUL (\\u0000) at byte " +
                      std::to_string(nul + 1),
                  "PostgreSQL cannot store it in a text column.");
    }
    return text;
}

std::int64_t read_count(const Path& path, Value value, std::int64_t limit) {
    if (value.is_null()) return 0;
    if (value.kind() != Kind::integer) wrong_kind(path, "a whole number", value);
    const auto number = value.integer();
    if (number && *number < 0) path.fail(path.name() + " must not be negative");
    if (!number || *number > limit) {
        path.fail(path.name() + " must not be larger than " + std::to_string(limit));
    }
    return *number;
}

core::Seconds read_seconds(const Path& path, Value value) {
    return core::Seconds(read_count(path, value, max_seconds));
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    const auto from = text.find_first_not_of(blanks);
    if (from == std::string_view::npos) return {};
    return text.substr(from, text.find_last_not_of(blanks) - from + 1);
}

std::string step_id(std::size_t step) {
    char text[24];
    std::snprintf(text, sizeof text, "%02zu", step + 1);
    return text;
}

std::string subscriber_id(std::size_t step, std::size_t subscriber) {
    return step_id(step) + "-" + step_id(subscriber);
}

// Reads one request. The members are the parts that several steps of the reading need.
class Reader {
public:
    Reader(Value root, const TopicLookup& topics, const Limits& limits)
        : root_(root), topics_(topics), limits_(limits) {}

    Request read() {
        read_gid();
        read_type();
        read_protocol();
        read_steps();
        read_options();
        if (request_.type == TransType::msg) {
            request_.query_prepared = string_field("query_prepared");
            check_url(Path(top_, "query_prepared"), request_.query_prepared);
        }
        read_custom_data();
        return std::move(request_);
    }

private:
    std::string_view string_field(std::string_view name) const {
        return read_string(Path(top_, name), root_.find(name));
    }
    bool bool_field(std::string_view name) const {
        return read_bool(Path(top_, name), root_.find(name));
    }
    core::Seconds seconds_field(std::string_view name) const {
        return read_seconds(Path(top_, name), root_.find(name));
    }

    void read_gid() {
        const Value value = root_.find("gid");
        if (!value.is_null() && value.kind() != Kind::string) {
            wrong_kind(Path(top_, "gid"), "a string", value);
        }
        if (value.is_null() || value.string().empty()) return;  // the caller makes one
        check_gid(value.string(), limits_);
        request_.gid = value.string();
    }

    void read_type() {
        const Path path(top_, "trans_type");
        constexpr const char* known = "trans_type is \"saga\" or \"msg\".";
        const std::string_view name = string_field("trans_type");
        if (name == "saga") {
            request_.type = TransType::saga;
        } else if (name == "msg") {
            request_.type = TransType::msg;
        } else if (name.empty()) {
            path.fail("trans_type is missing", known);
        } else if (name == "tcc" || name == "xa" || name == "workflow") {
            path.fail("trans_type " + quoted(name) + " is not supported by this version",
                      "This version coordinates saga and msg.");
        } else {
            path.fail("unknown trans_type " + quoted(name), known);
        }
    }

    void read_protocol() {
        const Path path(top_, "protocol");
        const std::string_view name = string_field("protocol");
        if (name.empty() || name == "http") return;
        if (name == "grpc" || name == "json-rpc") {
            path.fail("protocol " + quoted(name) + " is not supported by this version",
                      "This version calls branches over HTTP: leave protocol out or say \"http\".");
        }
        path.fail("unknown protocol " + quoted(name), "protocol is \"http\".");
    }

    void read_steps() {
        const Path steps_path(top_, "steps");
        const Value steps = root_.find("steps");
        if (!steps.is_null() && steps.kind() != Kind::array)
            wrong_kind(steps_path, "a list", steps);
        if (steps.size() == 0) {
            steps_path.fail(
                steps.is_null() ? "steps are missing" : "there must be at least one step",
                "steps is a list of objects with the keys action and compensate.");
        }
        if (steps.size() > limits_.max_steps) {
            steps_path.fail("there are " + std::to_string(steps.size()) + " steps, the limit is " +
                            std::to_string(limits_.max_steps));
        }
        read_payloads();
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const Path path(steps_path, i);
            const Value step = steps.at(i);
            if (step.kind() != Kind::object) {
                path.fail("a step must be an object with the keys action and compensate, not " +
                          std::string(json::article(step.kind())));
            }
            read_step(path, step, i);
        }
        if (request_.payloads.size() < steps.size()) {
            Path(top_, "payloads")
                .fail("there are " + std::to_string(steps.size()) + " steps, but only " +
                          std::to_string(request_.payloads.size()) + " payloads",
                      "payloads has one string per step; \"\" calls the step with GET.");
        }
        request_.payloads.resize(steps.size());  // dtm ignores the rest, too
    }

    void read_payloads() {
        const Path path(top_, "payloads");
        const Value payloads = root_.find("payloads");
        if (payloads.is_null()) return;
        if (payloads.kind() != Kind::array) wrong_kind(path, "a list", payloads);
        request_.payloads.reserve(payloads.size());
        for (std::size_t i = 0; i < payloads.size(); ++i) {
            request_.payloads.emplace_back(read_string(
                Path(path, i), payloads.at(i),
                "A payload is the text of the request's body: write JSON as a string."));
        }
    }

    void read_step(const Path& path, Value step, std::size_t index) {
        // The form of old clients: the payload inside of the step (dtm-compat.md 1.4.2).
        const std::string_view data = read_string(Path(path, "data"), step.find("data"));
        if (!data.empty()) request_.payloads.emplace_back(data);

        const Path action_path(path, "action");
        const std::string_view action = read_string(action_path, step.find("action"));
        if (request_.type == TransType::msg) {
            if (action.starts_with(topic_scheme)) {
                add_subscribers(action_path, action.substr(topic_scheme.size()), index);
                return;
            }
            check_url(action_path, action);
            add_branch(action_path, step_id(index), action, {}, index);
            return;
        }
        check_url(action_path, action);
        const Path compensate_path(path, "compensate");
        const std::string_view compensate = read_string(compensate_path, step.find("compensate"));
        check_url(compensate_path, compensate);
        add_branch(action_path, step_id(index), action, compensate, index);
    }

    void add_subscribers(const Path& path, std::string_view topic, std::size_t index) {
        // The clients look for this text (dtm-compat.md appendix D).
        constexpr const char* not_found = "topic not found";
        if (topic.empty()) path.fail(not_found, "The name of the topic is empty.");
        const std::vector<std::string> urls = topics_ ? topics_(topic) : std::vector<std::string>();
        if (urls.empty())
            path.fail(not_found, "Nobody has subscribed to topic " + quoted(topic) + ".");
        for (std::size_t i = 0; i < urls.size(); ++i) {
            check_url(path, urls[i]);
            add_branch(path, urls.size() == 1 ? step_id(index) : subscriber_id(index, i), urls[i],
                       {}, index);
        }
    }

    void add_branch(const Path& path, std::string id, std::string_view action,
                    std::string_view compensate, std::size_t step) {
        if (request_.branches.size() == limits_.max_steps) {
            path.fail("the topics have too many subscribers: the limit is " +
                      std::to_string(limits_.max_steps) + " calls for one request");
        }
        Branch branch;
        branch.branch_id = std::move(id);
        branch.action = action;
        branch.compensate = compensate;
        branch.step = static_cast<std::uint32_t>(step);
        request_.branches.push_back(std::move(branch));
    }

    void read_options() {
        core::Options& options = request_.options;
        options.wait_result = bool_field("wait_result");
        options.exact_progress = bool_field("exact_progress");
        options.timeout_to_fail = seconds_field("timeout_to_fail");
        options.request_timeout = seconds_field("request_timeout");
        options.retry_interval = seconds_field("retry_interval");
        options.retry_limit = static_cast<std::uint32_t>(
            read_count(Path(top_, "retry_limit"), root_.find("retry_limit"), UINT32_MAX));
        // Clients send `concurrent` with sagas, too, where it means nothing.
        const bool concurrent = bool_field("concurrent");
        if (request_.type == TransType::msg) options.concurrent = concurrent;
        read_headers();
    }

    void read_headers() {
        const Path path(top_, "branch_headers");
        const Value headers = root_.find("branch_headers");
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

    void read_custom_data() {
        const Path path(top_, "custom_data");
        const Value field = root_.find("custom_data");
        const std::string_view text =
            read_string(path, field, "custom_data is JSON text inside of a string.");
        if (text.empty()) return;
        const json::Document document = parse_text(path, text, limits_.max_depth);
        const Value data = document.root();
        if (data.is_null()) return;
        if (data.kind() != Kind::object) wrong_kind(path, "the JSON text of an object", data);
        if (request_.type == TransType::msg) {
            request_.options.delay = read_seconds(Path(path, "delay"), data.find("delay"));
            return;
        }
        request_.options.concurrent = read_bool(Path(path, "concurrent"), data.find("concurrent"));
        read_orders(Path(path, "orders"), data.find("orders"));
    }

    void read_orders(const Path& path, Value orders) {
        if (orders.is_null()) return;
        if (orders.kind() != Kind::object) {
            wrong_kind(path, "an object of step numbers and lists of step numbers", orders,
                       "For example {\"2\":[0,1]}: step 2 waits for steps 0 and 1.");
        }
        const std::size_t steps = request_.branches.size();  // a saga step is one branch
        // One step has nothing to be ordered with. dtm takes such orders, whatever they say, and
        // its documentation shows one; with more steps a wrong number would silently lose an order.
        if (steps == 1) return;
        std::vector<std::vector<std::uint32_t>> after(steps);
        for (std::size_t i = 0; i < orders.size(); ++i) {
            const auto [key, list] = orders.member(i);
            const Path list_path(path, key);
            const std::uint32_t step = order_key(list_path, key);
            if (list.is_null()) continue;
            if (list.kind() != Kind::array) {
                list_path.fail("the predecessors of step " + std::to_string(step) +
                               " must be a list, not " + std::string(json::article(list.kind())));
            }
            for (std::size_t k = 0; k < list.size(); ++k) {
                after[step].push_back(predecessor(Path(list_path, k), step, list.at(k)));
            }
            std::sort(after[step].begin(), after[step].end());
            after[step].erase(std::unique(after[step].begin(), after[step].end()),
                              after[step].end());
        }
        check_no_cycle(path, after);
        if (!request_.options.concurrent) check_serial(path, after);
        for (std::size_t i = 0; i < steps; ++i) request_.branches[i].after = std::move(after[i]);
    }

    // One after the other and yet after a later one: such a saga would never get past that step.
    static void check_serial(const Path& path,
                             const std::vector<std::vector<std::uint32_t>>& after) {
        for (std::size_t step = 0; step < after.size(); ++step) {
            if (after[step].empty() || after[step].back() < step) continue;
            Path(path, std::to_string(step))
                .fail("step " + std::to_string(step) +
                          " of a serial saga waits for the later step " +
                          std::to_string(after[step].back()),
                      "Set \"concurrent\": true in custom_data; orders then decide alone.");
        }
    }

    // "there is no step 7; steps are numbered 0 to 1"
    [[noreturn]] void no_such_step(const Path& path, std::string_view step) const {
        path.fail("there is no step " + std::string(step) + "; steps are numbered 0 to " +
                  std::to_string(request_.branches.size() - 1));
    }

    std::uint32_t order_key(const Path& path, std::string_view key) const {
        const bool digits = !key.empty() && key.find_first_not_of("0123456789") == key.npos;
        if (!digits || (key.size() > 1 && key[0] == '0')) {
            path.fail("the key " + quoted(key) + " of orders is not the number of a step");
        }
        // Nine digits are enough for every step and cannot overflow.
        if (key.size() > 9) no_such_step(path, printable(key, 20));
        const auto step = static_cast<std::uint32_t>(std::stoul(std::string(key)));
        if (step >= request_.branches.size()) no_such_step(path, key);
        return step;
    }

    std::uint32_t predecessor(const Path& path, std::uint32_t step, Value value) const {
        if (value.kind() != Kind::integer) {
            path.fail("a predecessor must be the number of a step, not " +
                      std::string(json::article(value.kind())));
        }
        const auto number = value.integer();
        if (!number) path.fail("a predecessor must be the number of a step");
        if (*number < 0 || *number >= static_cast<std::int64_t>(request_.branches.size())) {
            no_such_step(path, std::to_string(*number));
        }
        if (*number == step) path.fail("step " + std::to_string(step) + " waits for itself");
        return static_cast<std::uint32_t>(*number);
    }

    Value root_;
    const TopicLookup& topics_;
    const Limits& limits_;
    Path top_;
    Request request_;
};

}  // namespace

core::Request parse_submit(std::string_view text, const TopicLookup& topics, const Limits& limits) {
    const Path top;
    if (text.size() > limits.max_body_bytes) {
        top.fail("the request is " + std::to_string(text.size()) + " bytes long, the limit is " +
                 std::to_string(limits.max_body_bytes));
    }
    const json::Document document = parse_text(top, text, limits.max_depth);
    const Value root = document.root();
    if (root.kind() != Kind::object) {
        top.fail("the request must be an object, not " + std::string(json::article(root.kind())));
    }
    return Reader(root, topics, limits).read();
}

}  // namespace dtm::wire
