// The HTTP call of a branch operation, and what an answer means.
#include "wire/branch_call.hpp"
#include "wire/text.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using core::Op;
using core::Result;

std::shared_ptr<core::Request> saga() {
    auto request = std::make_shared<core::Request>();
    request->gid = "gid1";
    request->branches = {
        {.branch_id = "01",
         .action = "http://a/TransOut",
         .compensate = "http://a/TransOutRevert?x=1",
         .step = 0,
         .after = {}},
        {.branch_id = "02", .action = "http://b", .compensate = "", .step = 1, .after = {}}};
    request->payloads = {R"({"amount":30})", ""};
    return request;
}

const std::vector<std::string> json_headers = {"Content-Type: application/json",
                                               "Accept: application/json"};

TEST(WireBranchCall, Action) {
    const auto request = saga();
    const BranchCall call = branch_call(request, 0, Op::action, {});
    EXPECT_TRUE(call.post);
    EXPECT_EQ(call.url, "http://a/TransOut?branch_id=01&gid=gid1&op=action&trans_type=saga");
    EXPECT_EQ(call.body, R"({"amount":30})");
    EXPECT_EQ(call.body.data(), request->payloads[0].data());  // not copied
    EXPECT_EQ(*call.headers, json_headers);
    EXPECT_EQ(call.timeout, core::Seconds(3));
}

TEST(WireBranchCall, KeepsTheRequestAlive) {
    BranchCall call;
    {
        auto request = saga();
        call = branch_call(request, 0, Op::action, {});
    }
    EXPECT_EQ(call.body, R"({"amount":30})");
}

TEST(WireBranchCall, Compensate) {
    const BranchCall call = branch_call(saga(), 0, Op::compensate, {});
    EXPECT_TRUE(call.post);
    EXPECT_EQ(call.url,
              "http://a/TransOutRevert?x=1&branch_id=01&gid=gid1&op=compensate&trans_type=saga");
}

TEST(WireBranchCall, EmptyPayloadIsAGet) {
    const BranchCall call = branch_call(saga(), 1, Op::action, {});
    EXPECT_FALSE(call.post);
    EXPECT_EQ(call.body, "");
    EXPECT_EQ(call.url, "http://b?branch_id=02&gid=gid1&op=action&trans_type=saga");
    EXPECT_EQ(*call.headers, json_headers);
}

TEST(WireBranchCall, QueryPrepared) {
    auto request = saga();
    request->type = core::TransType::msg;
    request->query_prepared = "http://q/QueryPrepared";
    const BranchCall call = branch_call(request, 0, Op::query, {});
    EXPECT_FALSE(call.post);
    EXPECT_EQ(call.url, "http://q/QueryPrepared?branch_id=00&gid=gid1&op=msg&trans_type=msg");
    EXPECT_EQ(call.body, "");
}

TEST(WireBranchCall, WorkflowCallbackIsAPostWithTheInput) {
    auto request = saga();
    request->type = core::TransType::workflow;
    request->branches.clear();
    request->payloads.clear();
    request->query_prepared = "http://q/resume";
    request->workflow_name = "wf 1";
    request->workflow_data = std::string("a\0b", 3);
    const BranchCall call = branch_call(request, 0, Op::query, {});
    EXPECT_TRUE(call.post);
    EXPECT_EQ(call.url, "http://q/resume?branch_id=00&gid=gid1&op=wf+1&trans_type=workflow");
    EXPECT_EQ(call.body, request->workflow_data);
    request->workflow_data.clear();
    const BranchCall empty = branch_call(request, 0, Op::query, {});
    EXPECT_TRUE(empty.post);  // D26
    EXPECT_EQ(empty.body, "");
}

TEST(WireBranchCall, OpNames) {
    using core::TransType;
    const std::tuple<TransType, const char*, const char*, const char*> table[] = {
        {TransType::msg, "action", "compensate", "msg"},
        {TransType::saga, "action", "compensate", "msg"},
        {TransType::tcc, "confirm", "cancel", "msg"},
        {TransType::xa, "commit", "rollback", "msg"},
        {TransType::workflow, "action", "compensate", "wf"},
    };
    for (const auto& [type, action, compensate, query] : table) {
        core::Request request;
        request.type = type;
        request.workflow_name = "wf";
        EXPECT_EQ(op_name(request, Op::action), action);
        EXPECT_EQ(op_name(request, Op::compensate), compensate);
        EXPECT_EQ(op_name(request, Op::query), query);
    }
}

TEST(WireBranchCall, SubscribersShareTheirStepsPayload) {
    auto request = saga();
    request->type = core::TransType::msg;
    request->branches[1].branch_id = "01-02";
    request->branches[1].step = 0;
    const BranchCall call = branch_call(request, 1, Op::action, {});
    EXPECT_EQ(call.body.data(), request->payloads[0].data());
    EXPECT_EQ(call.url, "http://b?branch_id=01-02&gid=gid1&op=action&trans_type=msg");
}

TEST(WireBranchCall, Urls) {
    const std::string parameters = "branch_id=02&gid=gid1&op=action&trans_type=saga";
    const std::pair<const char*, std::string> table[] = {
        {"http://b", "http://b?" + parameters},
        {"http://b/", "http://b/?" + parameters},
        {"http://b/p?", "http://b/p?" + parameters},
        {"http://b/p?a=1", "http://b/p?a=1&" + parameters},
        {"http://b/p?a=1&", "http://b/p?a=1&&" + parameters},
        {"http://b/p?gid=other", "http://b/p?gid=other&" + parameters},
        {"http://b/p#part", "http://b/p?" + parameters},
        {"http://b/p?a=1#part?x", "http://b/p?a=1&" + parameters},
        {"http://b/p#part?x", "http://b/p?" + parameters},
        {"http://b#part", "http://b?" + parameters},
        {"http://b?a=1", "http://b?a=1&" + parameters},
        {"http://b/\xC3\xA4?\xC3\xB6=%20+", "http://b/%C3%A4?%C3%B6=%20+&" + parameters},
        {"http://\xC3\xA4.de/", "http://\xC3\xA4.de/?" + parameters},
    };
    for (const auto& [stored, called] : table) {
        auto request = saga();
        request->branches[1].action = stored;
        EXPECT_EQ(branch_call(request, 1, Op::action, {}).url, called);
    }
}

TEST(WireBranchCall, GidIsEscapedAsGoDoes) {
    auto request = saga();
    request->gid = "a b+c/d&e=f%g?h#\xC3\xA4-_.~";
    EXPECT_EQ(
        branch_call(request, 1, Op::action, {}).url,
        "http://"
        "b?branch_id=02&gid=a+b%2Bc%2Fd%26e%3Df%25g%3Fh%23%C3%A4-_.~&op=action&trans_type=saga");
}

TEST(WireBranchCall, HeadersOfTheRequestOverride) {
    auto request = saga();
    request->options.branch_headers = {
        {"X-A", "v"}, {"content-type", "text/plain"}, {"X-Empty", ""}};
    EXPECT_EQ(*branch_call(request, 0, Op::action, {}).headers,
              (std::vector<std::string>{"Accept: application/json", "X-A: v", "X-Empty;",
                                        "content-type: text/plain"}));
}

TEST(WireBranchCall, Timeouts) {
    auto request = saga();
    core::Policy policy;
    policy.request_timeout = core::Seconds(9);
    EXPECT_EQ(branch_call(request, 0, Op::action, policy).timeout, core::Seconds(9));
    request->options.request_timeout = core::Seconds(2);
    EXPECT_EQ(branch_call(request, 0, Op::action, policy).timeout, core::Seconds(2));
}

TEST(WireBranchCall, BranchUrl) {
    auto request = saga();
    EXPECT_EQ(branch_url(*request, 0, Op::action), "http://a/TransOut");
    EXPECT_EQ(branch_url(*request, 1, Op::compensate), "");
    EXPECT_EQ(branch_url(*request, 0, Op::query), "");
}

struct Answer {
    long status;
    std::string body;
    Result result;
    std::string reason;
};

TEST(WireClassify, Table) {
    const Answer table[] = {
        {200, "", Result::success, ""},
        {200, R"({"dtm_result":"SUCCESS"})", Result::success, ""},
        {200, "failure ongoing Failure", Result::success, ""},
        {200, R"({"dtm_result":"FAILURE"})", Result::failure,
         R"({"dtm_result":"FAILURE"} FAILURE)"},
        {200, R"({"dtm_result":"ONGOING"})", Result::ongoing, R"({"dtm_result":"ONGOING"})"},
        {200, "xxFAILUREyy", Result::failure, "xxFAILUREyy FAILURE"},
        {409, "", Result::failure, " FAILURE"},
        {409, "no money", Result::failure, "no money FAILURE"},
        {409, "no money FAILURE", Result::failure, "no money FAILURE"},
        {409, "no money FAILURE FAILURE", Result::failure, "no money FAILURE FAILURE"},
        {409, "FAILURE", Result::failure, "FAILURE FAILURE"},
        {409, "ONGOING", Result::ongoing, "ONGOING"},
        {425, "", Result::ongoing, ""},
        {425, "FAILURE", Result::ongoing, "FAILURE"},
        {200, "ONGOING FAILURE", Result::ongoing, "ONGOING FAILURE"},
        {500, "FAILURE", Result::failure, "FAILURE FAILURE"},
        {500, "ONGOING", Result::ongoing, "ONGOING"},
        {500, "broken", Result::error, "broken"},
        {500, "", Result::error, "HTTP status 500 with an empty body"},
        {201, "ok", Result::error, "ok"},
        {202, "ok", Result::error, "ok"},
        {204, "", Result::error, "HTTP status 204 with an empty body"},
        {301, "moved", Result::error, "moved"},
        {404, "404 page not found", Result::error, "404 page not found"},
        {100, "x", Result::error, "x"},
        // No answer at all: the text is the transport's, whatever words it contains.
        {0, "cannot connect to FAILURE.example", Result::error,
         "cannot connect to FAILURE.example"},
        {0, "ONGOING", Result::error, "ONGOING"},
    };
    for (const Answer& answer : table) {
        const core::Outcome outcome = classify_http(answer.status, answer.body);
        EXPECT_EQ(outcome.result, answer.result) << answer.status << " " << answer.body;
        EXPECT_EQ(outcome.reason, answer.reason) << answer.status << " " << answer.body;
    }
}

TEST(WireClassify, WordsAreFoundAnywhereInALargeBody) {
    const std::string filler(60000, 'x');
    EXPECT_EQ(classify_http(200, filler + "FAILURE").result, Result::failure);
    EXPECT_EQ(classify_http(200, filler + "ONGOING" + filler).result, Result::ongoing);
    const core::Outcome outcome = classify_http(409, filler);
    EXPECT_LE(outcome.reason.size(), 4096u);
    EXPECT_TRUE(outcome.reason.ends_with("x FAILURE"));
}

TEST(WireClassify, ReasonsCanBeStored) {
    EXPECT_EQ(classify_http(500, std::string_view("a\0\xff\xC3\xA4", 5)).reason, "a??\xC3\xA4");
}

TEST(WireAlert, Body) {
    EXPECT_EQ(
        alert_body("g\"1", core::Status::submitted, "http://a", "no\nanswer\xff", 3),
        R"({"gid":"g\"1","status":"submitted","branch":"http://a","error":"no\nanswer?","retry_count":3})");
}

// ---- text ---------------------------------------------------------------------------------------

TEST(WireText, Utf8) {
    using namespace std::string_view_literals;
    const auto npos = std::string_view::npos;
    const std::pair<std::string_view, std::size_t> table[] = {
        {""sv, npos},
        {"abc\0\x7f"sv, npos},
        {"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"sv, npos},
        {"\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"sv, npos},
        {"a\x80"sv, 1},
        {"\xC0\x80"sv, 0},
        {"\xC1\xBF"sv, 0},
        {"\xC2"sv, 0},
        {"\xC2\x41"sv, 0},
        {"\xE0\x9F\xBF"sv, 0},
        {"\xED\xA0\x80"sv, 0},
        {"\xE2\x82"sv, 0},
        {"ab\xE2\x82\x41"sv, 2},
        {"\xF0\x8F\xBF\xBF"sv, 0},
        {"\xF4\x90\x80\x80"sv, 0},
        {"\xF5\x80\x80\x80"sv, 0},
        {"\xFF"sv, 0},
    };
    for (const auto& [text, at] : table) EXPECT_EQ(first_invalid_utf8(text), at) << text;
}

TEST(WireText, Printable) {
    using namespace std::string_view_literals;
    EXPECT_EQ(printable("a\t\r\nb"sv, 100), "a\t\r\nb");
    EXPECT_EQ(printable("\0\x01\x1b\x7f\xff\xC3"sv, 100), "??????");
    EXPECT_EQ(printable("\xC3\xA4\xC3\xB6"sv, 4), "\xC3\xA4\xC3\xB6");
    EXPECT_EQ(printable("\xC3\xA4\xC3\xB6"sv, 3), "\xC3\xA4");
    EXPECT_EQ(printable("abc"sv, 0), "");
    for (int c = 0; c < 256; ++c) {
        const std::string all(10, static_cast<char>(c));
        const std::string shown = printable(all, 100);
        EXPECT_EQ(first_invalid_utf8(shown), std::string::npos);
        EXPECT_EQ(shown.find('\0'), std::string::npos);
    }
}

}  // namespace
