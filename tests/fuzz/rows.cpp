// Targets: what services answer, and what stands in a row that somebody may have damaged.
#include "targets.hpp"

#include "core/decide.hpp"
#include "wire/branch_call.hpp"
#include "wire/json.hpp"
#include "wire/progress.hpp"
#include "wire/rpc_branch.hpp"
#include "wire/stored.hpp"
#include "wire/text.hpp"

#include <algorithm>
#include <array>
#include <tuple>

namespace dtm::fuzz {

namespace {

using core::Op;
using core::Result;
using core::TransType;

TransType type_of(char letter) {
    constexpr std::string_view letters = "mstxw";
    const auto at = letters.find(letter);
    return at == letters.npos ? TransType::saga : static_cast<TransType>(at);
}

core::Request of_branches(std::size_t count) {
    core::Request request;
    request.gid = "g";
    request.protocol = "json-rpc";
    request.branches.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
        request.branches[i].branch_id = std::to_string(i + 1);
        request.branches[i].action = "http://a?method=m";
        request.branches[i].step = static_cast<std::uint32_t>(i);
    }
    request.payloads.resize(count);
    return request;
}

void check_outcome(const core::Outcome& outcome, std::string_view body) {
    must(wire::first_invalid_utf8(outcome.reason) == std::string_view::npos &&
             outcome.reason.find('\0') == std::string::npos,
         "a reason can be stored", outcome.reason);
    must(outcome.reason.size() <= 5000, "a reason is short", body);
    must(outcome.result != Result::failure || outcome.reason.ends_with("FAILURE"),
         "a failure says so", outcome.reason);
    must(outcome.result != Result::success || outcome.reason.empty(), "a success has no reason",
         body);
    must(outcome.result != Result::deferred, "an answer is never deferred", body);
}

}  // namespace

bool same(const core::Request& a, const core::Request& b) {
    const auto fields = [](const core::Request& r) {
        return std::tie(r.gid, r.type, r.protocol, r.payloads, r.query_prepared, r.custom_data,
                        r.workflow_name, r.workflow_data);
    };
    const auto options = [](const core::Options& o) {
        return std::tie(o.concurrent, o.wait_result, o.exact_progress, o.timeout_to_fail,
                        o.request_timeout, o.retry_interval, o.delay, o.retry_limit,
                        o.branch_headers);
    };
    const auto branch = [](const core::Branch& x) {
        return std::tie(x.branch_id, x.action, x.compensate, x.step, x.after);
    };
    return fields(a) == fields(b) && options(a.options) == options(b.options) &&
           std::ranges::equal(a.branches, b.branches,
                              [&](const core::Branch& x, const core::Branch& y) {
                                  return branch(x) == branch(y);
                              });
}

void classify(std::string_view input) {
    if (input.empty()) return;
    constexpr std::array<long, 8> statuses{200, 0, 425, 409, 500, 204, 404, 200};
    const long status = statuses[static_cast<unsigned char>(input[0]) % statuses.size()];
    const std::string_view body = input.substr(1);
    const core::Outcome plain = wire::classify_http(status, body);
    check_outcome(plain, body);
    must(status == 0 || body.find("ONGOING") == body.npos || plain.result == Result::ongoing,
         "the word ONGOING decides", body);
    must(status == 200 || plain.result != Result::success, "only 200 is a success", body);
    const core::Request request = of_branches(1);
    const core::Outcome rpc = wire::classify(request, 0, Op::action, status, body);
    check_outcome(rpc, body);
    must(plain.result == Result::success || rpc.result == plain.result, "HTTP's rules come first",
         body);
}

void stored_request(std::string_view input) {
    if (input.empty()) return;
    const TransType type = type_of(input[0]);
    wire::RowTexts row;
    row.gid = "g";
    row.trans_type = core::to_string(type);
    row.status = "submitted";
    row.request = input.substr(1);
    const wire::Progress progress = wire::read_progress(row);
    const std::string listed = wire::branches_json(row, {}, progress);
    const wire::json::Document document(listed, 4);
    try {
        const core::Request request = wire::decode_request("g", type, row.request);
        const std::string text = wire::encode_request(request);
        const core::Request back = wire::decode_request("g", type, text);
        must(same(back, request), "what is stored is read back", text);
        must(wire::encode_request(back) == text, "and written alike", text);
        must(progress.unreadable.empty(), "what can be read is read", progress.unreadable);
    } catch (const std::runtime_error& error) {
        must(progress.unreadable == error.what(), "damage is told", progress.unreadable);
    }
}

void stored_progress(std::string_view input) {
    if (input.empty()) return;
    const core::Request request = of_branches(static_cast<unsigned char>(input[0]) % 4);
    core::State state = core::initial_state(request, core::Status::submitted, {});
    const core::State before = state;
    try {
        wire::decode_progress(request, input.substr(1), state);
    } catch (const std::runtime_error&) {
        must(state == before, "a damaged progress changes nothing");
        return;
    }
    const std::string text = wire::encode_progress(state);
    core::State back = before;
    wire::decode_progress(request, text, back);
    must(wire::encode_progress(back) == text, "progress that was read is written alike", text);
    for (std::size_t i = 0; i < state.branches.size(); ++i) {
        must(state.branches[i].action.status == back.branches[i].action.status &&
                 state.branches[i].action.attempts == back.branches[i].action.attempts &&
                 state.branches[i].may_have_run == back.branches[i].may_have_run,
             "progress is kept", text);
    }
}

void rpc_call(std::string_view input) {
    const std::size_t end = std::min(input.find('\n'), input.size());
    const std::string_view url = input.substr(0, end);
    const std::string_view payload = input.substr(std::min(end + 1, input.size()));
    const std::string body = wire::rpc_body(url, {"g\"", "saga", "01", "action"}, payload);
    constexpr int deeper_than_payloads = 600;
    const wire::json::Document document(body, deeper_than_payloads);
    const wire::json::Value params = document.root().find("params");
    must(params.find("gid").string() == "g\"" && params.find("op").string() == "action",
         "the call says what it is", body);
    must(document.root().find("method").kind() == wire::json::Kind::string, "it names a method",
         body);
}

}  // namespace dtm::fuzz
