#include "wire/stored.hpp"

#include "wire/json.hpp"
#include "wire/object_writer.hpp"
#include "wire/text.hpp"
#include "wire/trans_reader.hpp"
#include "wire/workflow.hpp"

#include <cstdint>
#include <cstdio>
#include <stdexcept>

namespace dtm::wire {

// Both texts are written by hand, member by member in one order, and a member that has its default
// value is left out. That is what makes them canonical, and short: a fresh two-step saga's progress
// is
// {"b":[{},{}]}. Reading ignores members it does not know.
//
// request:  {"steps":[{"action","compensate","id","payload","after":[..]}..], "payloads":[..],
//            "protocol", "query_prepared", "concurrent", "wait_result", "exact_progress",
//            "timeout_to_fail", "request_timeout", "retry_interval", "delay", "retry_limit",
//            "branch_headers":{..}, "custom_data"}
//           "steps" has one entry per branch; "payload" is the index of its payload when that is
//           not the index of the entry, "id" the branch id when it is not the payload's number.
//           tcc, xa and workflow have neither steps nor payloads, and they alone have custom_data.
//
// progress: {"b":[{"r":1,"a":OP,"c":OP}..],"q":OP}      r: may have run; a, c, q: action,
// compensate,
//                                                        query
//       OP: {"s":"succeed","n":3,"e":1,"t":..,"f":..,"l":"..","k":{"w":"breaker","r":"..","t":..}}
//                                   s: status, n: attempts, e: consecutive errors, t: next time,
//                                   f: finished, l: last answer, k: kept back: why, reason, since;
//                                   times in microseconds since 1970 UTC

namespace {

using core::Branch;
using core::BranchState;
using core::BranchStatus;
using core::OpState;
using core::Options;
using core::Request;
using core::State;
using core::Time;
using json::append_integer;
using json::append_string;
using json::Kind;
using json::Value;

// What is kept of an answer in the row; dtm.branch shows it. Rows of a thousand failing branches
// stay below a megabyte.
constexpr std::size_t max_answer_bytes = 1024;

// Our own texts are flat; this is a guard against a column written by somebody else.
constexpr int max_depth = 16;

// ---- writing ------------------------------------------------------------------------------------

void append_time(ObjectWriter& object, std::string_view name, const std::optional<Time>& value) {
    if (value) append_integer(object.key(name), value->time_since_epoch().count());
}

// The id that a branch has when its step has no other branch: "01", "02", ..., "100".
std::string plain_id(std::uint32_t step) {
    char text[16];
    std::snprintf(text, sizeof text, "%02u", step + 1);
    return text;
}

void append_branch(std::string& out, const Branch& branch, std::size_t index) {
    ObjectWriter object(out);
    object.text("action", branch.action);
    object.text("compensate", branch.compensate);
    if (branch.branch_id != plain_id(branch.step)) object.text("id", branch.branch_id);
    if (branch.step != index) append_integer(object.key("payload"), branch.step);
    if (!branch.after.empty()) {
        object.key("after");
        char separator = '[';
        for (const std::uint32_t predecessor : branch.after) {
            out += separator;
            append_integer(out, predecessor);
            separator = ',';
        }
        out += ']';
    }
    object.end();
}

void append_op(std::string& out, const OpState& op) {
    ObjectWriter object(out);
    if (op.status == BranchStatus::succeed) object.text("s", "succeed");
    if (op.status == BranchStatus::failed) object.text("s", "failed");
    object.number("n", op.attempts);
    object.number("e", op.errors);
    append_time(object, "t", op.next);
    append_time(object, "f", op.finished);
    if (!op.last_answer.empty()) object.text("l", printable(op.last_answer, max_answer_bytes));
    if (op.kept_back) {
        ObjectWriter kept(object.key("k"));
        kept.text("w", to_string(op.kept_back->hold));
        kept.text("r", printable(op.kept_back->reason, max_answer_bytes));
        append_time(kept, "t", op.kept_back->since);
        kept.end();
    }
    object.end();
}

// in_flight is never stored, so it does not make an operation worth writing.
bool is_fresh(const OpState& op) {
    return op.status == BranchStatus::prepared && op.attempts == 0 && op.errors == 0 && !op.next &&
           !op.finished && op.last_answer.empty() && !op.kept_back;
}

void append_calls(ObjectWriter& object, const Request& request) {
    std::string& out = object.key("steps");
    out += '[';
    for (std::size_t i = 0; i < request.branches.size(); ++i) {
        if (i > 0) out += ',';
        append_branch(out, request.branches[i], i);
    }
    out += ']';
    object.key("payloads") += '[';
    for (std::size_t i = 0; i < request.payloads.size(); ++i) {
        if (i > 0) out += ',';
        append_string(out, request.payloads[i]);
    }
    out += ']';
}

// ---- reading ------------------------------------------------------------------------------------

[[noreturn]] void damaged(std::string_view what) {
    throw std::runtime_error("damaged row: " + std::string(what));
}

Value expect(Value value, Kind kind, std::string_view name) {
    if (value.kind() != kind) {
        damaged("\"" + std::string(name) + "\" must be " + std::string(json::article(kind)));
    }
    return value;
}

std::string_view text_of(Value object, std::string_view name) {
    const Value value = object.find(name);
    return value.is_null() ? std::string_view() : expect(value, Kind::string, name).string();
}

bool flag_of(Value object, std::string_view name) {
    const Value value = object.find(name);
    return !value.is_null() && expect(value, Kind::boolean, name).boolean();
}

std::int64_t integer(Value value, std::string_view name) {
    const auto number = expect(value, Kind::integer, name).integer();
    if (!number) damaged("\"" + std::string(name) + "\" is too large");
    return *number;
}

std::uint32_t count(Value value, std::string_view name) {
    const std::int64_t number = integer(value, name);
    if (number < 0 || number > UINT32_MAX) damaged("\"" + std::string(name) + "\" is out of range");
    return static_cast<std::uint32_t>(number);
}

std::uint32_t count_of(Value object, std::string_view name) {
    const Value value = object.find(name);
    return value.is_null() ? 0 : count(value, name);
}

core::Seconds seconds_of(Value object, std::string_view name) {
    const Value value = object.find(name);
    return core::Seconds(value.is_null() ? 0 : integer(value, name));
}

std::optional<Time> time_of(Value object, std::string_view name) {
    const Value value = object.find(name);
    if (value.is_null()) return std::nullopt;
    return Time(core::Micros(integer(value, name)));
}

json::Document parse(std::string_view text) {
    try {
        return json::Document(text, max_depth);
    } catch (const json::SyntaxError& error) {
        damaged(error.what());
    }
}

Branch read_branch(Value object, std::size_t index) {
    expect(object, Kind::object, "steps");
    Branch branch;
    branch.action = text_of(object, "action");
    branch.compensate = text_of(object, "compensate");
    const Value payload = object.find("payload");
    branch.step = payload.is_null() ? static_cast<std::uint32_t>(index) : count(payload, "payload");
    const std::string_view id = text_of(object, "id");
    branch.branch_id = id.empty() ? plain_id(branch.step) : std::string(id);
    const Value after = object.find("after");
    if (!after.is_null()) expect(after, Kind::array, "after");
    for (std::size_t i = 0; i < after.size(); ++i) {
        branch.after.push_back(count(after.at(i), "after"));
    }
    return branch;
}

void check_references(const Request& request) {
    for (const Branch& branch : request.branches) {
        if (branch.step >= request.payloads.size()) damaged("a step has no payload");
        for (const std::uint32_t predecessor : branch.after) {
            if (predecessor >= request.branches.size())
                damaged("a step waits for none that exists");
        }
    }
}

void read_own_workflow(Request& request) {
    const Path root;
    try {
        read_workflow(Path(root, "custom_data"), request);
    } catch (const BadRequest& error) {
        damaged(error.what());
    }
}

void read_calls(Value root, Request& request) {
    const Value steps = expect(root.find("steps"), Kind::array, "steps");
    request.branches.reserve(steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
        request.branches.push_back(read_branch(steps.at(i), i));
    }
    const Value payloads = expect(root.find("payloads"), Kind::array, "payloads");
    request.payloads.reserve(payloads.size());
    for (std::size_t i = 0; i < payloads.size(); ++i) {
        request.payloads.emplace_back(expect(payloads.at(i), Kind::string, "payloads").string());
    }
    check_references(request);
}

OpState read_op(Value object) {
    OpState op;
    if (object.is_null()) return op;
    expect(object, Kind::object, "operation");
    const std::string_view status = text_of(object, "s");
    if (status == "succeed") {
        op.status = BranchStatus::succeed;
    } else if (status == "failed") {
        op.status = BranchStatus::failed;
    } else if (!status.empty() && status != "prepared") {
        damaged("unknown branch status");
    }
    op.attempts = count_of(object, "n");
    op.errors = count_of(object, "e");
    op.next = time_of(object, "t");
    op.finished = time_of(object, "f");
    op.last_answer = text_of(object, "l");
    if (const Value kept = object.find("k"); !kept.is_null()) {
        expect(kept, Kind::object, "k");
        // A newer version may know more reasons.
        const auto hold = core::parse_hold(text_of(kept, "w")).value_or(core::Hold::crowd);
        op.kept_back = core::KeptBack{hold, std::string(text_of(kept, "r")),
                                      time_of(kept, "t").value_or(Time{})};
    }
    return op;
}

}  // namespace

std::string encode_request(const Request& request) {
    std::string out;
    std::size_t size = 128 + request.custom_data.size() * 5 / 4;
    for (const Branch& branch : request.branches) {
        size += branch.action.size() + branch.compensate.size() + 64;
    }
    for (const std::string& payload : request.payloads) size += payload.size() * 5 / 4 + 4;
    out.reserve(size);

    ObjectWriter object(out);
    if (core::lists_steps(request.type)) append_calls(object, request);
    if (request.protocol != "http") object.text("protocol", request.protocol);
    object.text("query_prepared", request.query_prepared);
    const Options& options = request.options;
    object.flag("concurrent", options.concurrent);
    object.flag("wait_result", options.wait_result);
    object.flag("exact_progress", options.exact_progress);
    object.number("timeout_to_fail", options.timeout_to_fail.count());
    object.number("request_timeout", options.request_timeout.count());
    object.number("retry_interval", options.retry_interval.count());
    object.number("delay", options.delay.count());
    object.number("retry_limit", options.retry_limit);
    if (!options.branch_headers.empty()) {
        append_map(object.key("branch_headers"), options.branch_headers);
    }
    object.text("custom_data", request.custom_data);
    object.end();
    return out;
}

Request decode_request(std::string_view gid, core::TransType type, std::string_view text) {
    const json::Document document = parse(text);
    const Value root = expect(document.root(), Kind::object, "request");
    Request request;
    request.gid = gid;
    request.type = type;
    if (core::lists_steps(type)) read_calls(root, request);
    if (const auto protocol = text_of(root, "protocol"); !protocol.empty()) {
        request.protocol = protocol;
    }
    request.query_prepared = text_of(root, "query_prepared");
    Options& options = request.options;
    options.concurrent = flag_of(root, "concurrent");
    options.wait_result = flag_of(root, "wait_result");
    options.exact_progress = flag_of(root, "exact_progress");
    options.timeout_to_fail = seconds_of(root, "timeout_to_fail");
    options.request_timeout = seconds_of(root, "request_timeout");
    options.retry_interval = seconds_of(root, "retry_interval");
    options.delay = seconds_of(root, "delay");
    options.retry_limit = count_of(root, "retry_limit");
    request.custom_data = text_of(root, "custom_data");
    if (type == core::TransType::workflow) read_own_workflow(request);
    const Value headers = root.find("branch_headers");
    if (!headers.is_null()) expect(headers, Kind::object, "branch_headers");
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const auto [name, value] = headers.member(i);
        options.branch_headers.emplace(name,
                                       expect(value, Kind::string, "branch_headers").string());
    }
    return request;
}

std::string encode_progress(const State& state) {
    std::string out;
    out.reserve(32 + state.branches.size() * 80);
    ObjectWriter object(out);
    object.key("b") += '[';
    for (std::size_t i = 0; i < state.branches.size(); ++i) {
        const BranchState& branch = state.branches[i];
        if (i > 0) out += ',';
        ObjectWriter entry(out);
        if (branch.may_have_run) append_integer(entry.key("r"), 1);
        if (!is_fresh(branch.action)) append_op(entry.key("a"), branch.action);
        if (!is_fresh(branch.compensate)) append_op(entry.key("c"), branch.compensate);
        entry.end();
    }
    out += ']';
    if (!is_fresh(state.query)) append_op(object.key("q"), state.query);
    object.end();
    return out;
}

void decode_progress(const Request& request, std::string_view text, State& state) {
    const json::Document document = parse(text);
    const Value root = expect(document.root(), Kind::object, "progress");
    const Value entries = expect(root.find("b"), Kind::array, "b");
    const std::size_t count = request.branches.size();
    // Of tcc and xa more may have been registered since it was written.
    if (entries.size() > count || (entries.size() < count && lists_steps(request.type))) {
        damaged("the progress has " + std::to_string(entries.size()) + " branches, the request " +
                std::to_string(count));
    }
    std::vector<BranchState> branches(count);
    std::vector<bool> may_have_run(count);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const Value entry = expect(entries.at(i), Kind::object, "b");
        branches[i].may_have_run = count_of(entry, "r") != 0;
        branches[i].action = read_op(entry.find("a"));
        branches[i].compensate = read_op(entry.find("c"));
        may_have_run[i] = branches[i].may_have_run;
    }
    state.query = read_op(root.find("q"));
    state.branches = std::move(branches);
    state.durable_fresh = false;
    state.durable_may_have_run = std::move(may_have_run);
}

}  // namespace dtm::wire
