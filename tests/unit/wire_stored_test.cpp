// The two texts of a row: what was written is read back, equal things are written alike, short
// things are short, and damaged text is refused.
#include "wire/request.hpp"
#include "wire/stored.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using core::BranchStatus;
using core::Micros;
using core::Seconds;
using core::Time;

core::Request full_request() {
    core::Request r;
    r.gid = "g1";
    r.type = core::TransType::msg;
    r.branches = {
        {.branch_id = "01",
         .action = "http://a/\"q\"",
         .compensate = "http://b",
         .step = 0,
         .after = {}},
        {.branch_id = "02-01", .action = "http://c", .compensate = "", .step = 1, .after = {0}},
        {.branch_id = "02-02", .action = "http://d", .compensate = "", .step = 1, .after = {0, 1}},
        {.branch_id = "03", .action = "", .compensate = "", .step = 2, .after = {}},
    };
    r.payloads = {"{\"amount\":30,\n\t\"x\":\"\\u0000 \x01\x1f\"}", "",
                  "\xC3\xA4\xF0\x9F\x98\x80\x7f"};
    r.query_prepared = "http://q";
    r.options.concurrent = r.options.wait_result = r.options.exact_progress = true;
    r.options.timeout_to_fail = Seconds(60);
    r.options.request_timeout = Seconds(5);
    r.options.retry_interval = Seconds(20);
    r.options.delay = Seconds(10);
    r.options.retry_limit = 4294967295u;
    r.options.branch_headers = {{"X-A", "v\t1"}, {"x-b", ""}};
    return r;
}

void expect_equal(const core::Request& a, const core::Request& b) {
    EXPECT_EQ(a.gid, b.gid);
    EXPECT_EQ(a.type, b.type);
    EXPECT_EQ(a.protocol, b.protocol);
    EXPECT_EQ(a.payloads, b.payloads);
    EXPECT_EQ(a.query_prepared, b.query_prepared);
    ASSERT_EQ(a.branches.size(), b.branches.size());
    for (std::size_t i = 0; i < a.branches.size(); ++i) {
        EXPECT_EQ(a.branches[i].branch_id, b.branches[i].branch_id);
        EXPECT_EQ(a.branches[i].action, b.branches[i].action);
        EXPECT_EQ(a.branches[i].compensate, b.branches[i].compensate);
        EXPECT_EQ(a.branches[i].step, b.branches[i].step);
        EXPECT_EQ(a.branches[i].after, b.branches[i].after);
    }
    EXPECT_EQ(a.options.concurrent, b.options.concurrent);
    EXPECT_EQ(a.options.wait_result, b.options.wait_result);
    EXPECT_EQ(a.options.exact_progress, b.options.exact_progress);
    EXPECT_EQ(a.options.timeout_to_fail, b.options.timeout_to_fail);
    EXPECT_EQ(a.options.request_timeout, b.options.request_timeout);
    EXPECT_EQ(a.options.retry_interval, b.options.retry_interval);
    EXPECT_EQ(a.options.delay, b.options.delay);
    EXPECT_EQ(a.options.retry_limit, b.options.retry_limit);
    EXPECT_EQ(a.options.branch_headers, b.options.branch_headers);
}

TEST(WireStored, RequestRoundTrip) {
    const core::Request request = full_request();
    const std::string text = encode_request(request);
    EXPECT_EQ(text.find('\n'), std::string::npos);
    const core::Request back = decode_request("g1", core::TransType::msg, text);
    expect_equal(back, request);
    EXPECT_EQ(encode_request(back), text);
}

TEST(WireStored, RequestText) {
    const auto request = parse_submit(
        R"({"gid":"g","trans_type":"saga","steps":[{"action":"http://a","compensate":"http://b"},{"action":"http://c"}],"payloads":["{\"amount\":30}","2"]})",
        {});
    EXPECT_EQ(encode_request(request),
              R"({"steps":[{"action":"http://a","compensate":"http://b"},{"action":"http://c"}],)"
              R"("payloads":["{\"amount\":30}","2"]})");
}

TEST(WireStored, Workflow) {
    const std::string text =
        R"({"query_prepared":"http://q","timeout_to_fail":5,"custom_data":"{\"name\":\"w\",\"data\":\"AP8=\"}"})";
    const core::Request request = decode_request("g", core::TransType::workflow, text);
    EXPECT_EQ(request.workflow_name, "w");
    EXPECT_EQ(request.workflow_data, std::string("\0\xff", 2));
    EXPECT_EQ(request.query_prepared, "http://q");
    EXPECT_EQ(encode_request(request), text);
    core::State state;
    state.query.attempts = 2;
    core::State back;
    EXPECT_EQ(encode_progress(state), R"({"b":[],"q":{"n":2}})");
    decode_progress(request, encode_progress(state), back);
    EXPECT_EQ(back.query, state.query);
    for (const char* damaged :
         {"{}", R"({"custom_data":""})", R"({"custom_data":"{}"})", R"({"custom_data":7})",
          R"({"custom_data":"{\"name\":\"w\",\"data\":\"A\"}"})"}) {
        EXPECT_THROW(decode_request("g", core::TransType::workflow, damaged), std::runtime_error)
            << damaged;
    }
}

TEST(WireStored, ProtocolIsKeptWhereItIsNotHttp) {
    const std::string text = R"({"steps":[{}],"payloads":[""],"protocol":"json-rpc"})";
    EXPECT_EQ(encode_request(decode_request("g", core::TransType::saga, text)), text);
}

TEST(WireStored, EqualRequestsGiveEqualBytes) {
    const auto text = [](const char* json) { return encode_request(parse_submit(json, {})); };
    EXPECT_EQ(
        text(
            R"({"trans_type":"saga","steps":[{"action":"http://a"}],"payloads":["1"],"protocol":"","branch_headers":{"a":"1","b":"2"},"retry_limit":0})"),
        text(
            R"({"branch_headers":{"b":"2","a":"1"},"Payloads":["1","extra"],"steps":[{"compensate":"","action":"http://a"}],"trans_type":"saga","protocol":"http","subType":"x"})"));
    EXPECT_EQ(
        text(
            R"({"trans_type":"saga","steps":[{},{},{}],"payloads":["","",""],"custom_data":"{\"orders\":{\"2\":[1,0]}}"})"),
        text(
            R"({"trans_type":"saga","steps":[{},{},{}],"payloads":["","",""],"custom_data":" {\"orders\": {\"2\":[0,1,0]}}"})"));
    EXPECT_NE(text(R"({"trans_type":"saga","steps":[{}],"payloads":["{}"]})"),
              text(R"({"trans_type":"saga","steps":[{}],"payloads":["{ }"]})"));
}

TEST(WireStored, RequestToleratesWhatANewerVersionAdds) {
    const auto request = decode_request(
        "g", core::TransType::saga,
        R"({"steps":[{"action":"http://a","color":"red"}],"payloads":["1"],"strict":true,"more":{}})");
    EXPECT_EQ(request.branches[0].action, "http://a");
    EXPECT_EQ(request.branches[0].branch_id, "01");
}

TEST(WireStored, DamagedRequestsAreRefused) {
    for (const char* text :
         {"", "x", "[]", "{}", R"({"steps":[]})", R"({"steps":{},"payloads":[]})",
          R"({"steps":[{}],"payloads":[]})", R"({"steps":[1],"payloads":["1"]})",
          R"({"steps":[{}],"payloads":[1]})", R"({"steps":[{"payload":1}],"payloads":["1"]})",
          R"({"steps":[{"payload":-1}],"payloads":["1"]})",
          R"({"steps":[{"after":[1]}],"payloads":["1"]})",
          R"({"steps":[{"after":7}],"payloads":["1"]})",
          R"({"steps":[{}],"payloads":["1"],"concurrent":1})",
          R"({"steps":[{}],"payloads":["1"],"delay":"1"})",
          R"({"steps":[{}],"payloads":["1"],"retry_limit":-1})",
          R"({"steps":[{}],"payloads":["1"],"branch_headers":[]})",
          R"({"steps":[{}],"payloads":["1"]} )"
          "x"}) {
        EXPECT_THROW(decode_request("g", core::TransType::saga, text), std::runtime_error) << text;
    }
}

core::State state_for(const core::Request& request) {
    core::State state;
    state.branches.resize(request.branches.size());
    return state;
}

TEST(WireStored, ProgressRoundTrip) {
    const core::Request request = full_request();
    core::State state = state_for(request);
    state.branches[0].may_have_run = true;
    state.branches[0].action.status = BranchStatus::succeed;
    state.branches[0].action.attempts = 4294967295u;
    state.branches[0].action.finished = Time(Micros(1763694000123456));
    state.branches[1].may_have_run = true;
    state.branches[1].action.status = BranchStatus::failed;
    state.branches[1].action.attempts = 3;
    state.branches[1].action.last_answer = "no \"money\"\n\xC3\xA4";
    state.branches[1].compensate.errors = 7;
    state.branches[1].compensate.next = Time(Micros(-1));
    state.branches[2].compensate.finished = Time(Micros(0));
    state.query.attempts = 2;
    state.query.next = Time(Micros(1763694000000000));
    const std::string text = encode_progress(state);
    core::State back;
    decode_progress(request, text, back);
    EXPECT_EQ(back.branches, state.branches);
    EXPECT_EQ(back.query, state.query);
    EXPECT_FALSE(back.durable_fresh);
    EXPECT_EQ(back.durable_may_have_run, (std::vector<bool>{true, true, false, false}));
    EXPECT_EQ(encode_progress(back), text);
}

TEST(WireStored, ProgressText) {
    core::State state;
    state.branches.resize(2);
    EXPECT_EQ(encode_progress(state), R"({"b":[{},{}]})");
    state.branches[0].may_have_run = true;
    state.branches[0].action.status = BranchStatus::succeed;
    state.branches[0].action.attempts = 1;
    state.branches[0].action.finished = Time(Micros(5));
    state.branches[1].action.in_flight = true;  // never stored
    EXPECT_EQ(encode_progress(state), R"({"b":[{"r":1,"a":{"s":"succeed","n":1,"f":5}},{}]})");
    EXPECT_EQ(encode_progress(core::State()), R"({"b":[]})");
}

TEST(WireStored, InFlightIsNotStored) {
    const core::Request request = full_request();
    core::State state = state_for(request);
    state.branches[0].action.in_flight = true;
    state.branches[0].action.attempts = 1;
    core::State back;
    decode_progress(request, encode_progress(state), back);
    EXPECT_FALSE(back.branches[0].action.in_flight);
    EXPECT_EQ(back.branches[0].action.attempts, 1u);
}

TEST(WireStored, DecodingReplacesTheOldState) {
    core::Request request = full_request();
    core::State state = state_for(request);
    state.query.attempts = 9;
    state.branches[3].action.attempts = 9;
    state.rollback_reason = "kept";
    state.status = core::Status::aborting;
    decode_progress(request, R"({"b":[{},{},{},{}]})", state);
    EXPECT_EQ(state.query, core::OpState());
    EXPECT_EQ(state.branches[3], core::BranchState());
    EXPECT_EQ(state.rollback_reason, "kept");
    EXPECT_EQ(state.status, core::Status::aborting);
}

TEST(WireStored, AnswersAreCutBetweenCharactersAndMadeStorable) {
    core::Request request = full_request();
    core::State state = state_for(request);
    std::string answer(1023, 'x');
    state.branches[0].action.last_answer =
        answer + "\xC3\xA4";  // the ä would be bytes 1024 and 1025
    state.branches[1].action.last_answer = std::string("a\0b\xff\x1b[31m", 9);
    core::State back;
    decode_progress(request, encode_progress(state), back);
    EXPECT_EQ(back.branches[0].action.last_answer, answer);
    EXPECT_EQ(back.branches[1].action.last_answer, "a?b??[31m");
}

TEST(WireStored, ProgressToleratesWhatANewerVersionAdds) {
    core::Request request = full_request();
    core::State state;
    decode_progress(
        request,
        R"({"v":2,"b":[{"a":{"s":"prepared","n":1,"z":[1]},"zz":1},{"a":null},{},{}],"q":null})",
        state);
    EXPECT_EQ(state.branches[0].action.attempts, 1u);
}

TEST(WireStored, DamagedProgressIsRefusedAndChangesNothing) {
    core::Request request = full_request();
    for (const char* text :
         {"", "null", "{}", R"({"b":{}})", R"({"b":[]})", R"({"b":[{},{},{}]})",
          R"({"b":[{},{},{},{},{}]})", R"({"b":[{},{},{},1]})", R"({"b":[{"a":1},{},{},{}]})",
          R"({"b":[{"a":{"s":"done"}},{},{},{}]})", R"({"b":[{"a":{"n":-1}},{},{},{}]})",
          R"({"b":[{"a":{"n":4294967296}},{},{},{}]})", R"({"b":[{"a":{"t":1.5}},{},{},{}]})",
          R"({"b":[{"a":{"l":1}},{},{},{}]})", R"({"b":[{},{},{},{}]}x)"}) {
        core::State state = state_for(request);
        const core::State before = state;
        EXPECT_THROW(decode_progress(request, text, state), std::runtime_error) << text;
        EXPECT_EQ(state, before);
    }
}

}  // namespace
