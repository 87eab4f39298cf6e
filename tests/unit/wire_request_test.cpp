// parse_submit(): what is accepted and what becomes of it, and what is refused and with which
// words.
#include "wire/request.hpp"
#include "wire/stored.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>

namespace {

using namespace dtm;
using namespace dtm::wire;
using core::Seconds;

std::vector<std::string> topics(std::string_view topic) {
    if (topic == "one") return {"http://s1/a"};
    if (topic == "two") return {"http://s1/a", "http://s2/b"};
    if (topic == "bad") return {"ftp://s1/a"};
    return {};
}

core::Request parse(std::string_view text, const Limits& limits = {}) {
    return parse_submit(text, topics, limits);
}

// A saga of two steps with more members in front.
std::string saga(const std::string& members) {
    return "{" + members + (members.empty() ? "" : ",") +
           R"("trans_type":"saga","steps":[{"action":"http://a","compensate":"http://b"},)"
           R"({"action":"http://c"}],"payloads":["1","2"]})";
}
std::string msg(const std::string& members, const std::string& action = "http://a") {
    return "{" + members + (members.empty() ? "" : ",") +
           R"("trans_type":"msg","steps":[{"action":")" + action + R"("}],"payloads":["1"]})";
}
std::string one_step(const std::string& step, const std::string& payloads = R"(["1"])") {
    return R"({"trans_type":"saga","steps":[)" + step + R"(],"payloads":)" + payloads + "}";
}

// ---- Appendix B, byte for byte ------------------------------------------------------------------

TEST(WireRequest, GoSagaWithoutOptions) {
    const auto r = parse(
        R"({"gid":"gid1","trans_type":"saga","concurrent":false,"steps":[{"action":"http://a","compensate":"http://b"}],"payloads":["{\"amount\":30}"],"protocol":""})");
    EXPECT_EQ(r.gid, "gid1");
    EXPECT_EQ(r.type, core::TransType::saga);
    EXPECT_EQ(r.protocol, "http");
    ASSERT_EQ(r.branches.size(), 1u);
    EXPECT_EQ(r.branches[0].branch_id, "01");
    EXPECT_EQ(r.branches[0].action, "http://a");
    EXPECT_EQ(r.branches[0].compensate, "http://b");
    EXPECT_EQ(r.branches[0].step, 0u);
    EXPECT_TRUE(r.branches[0].after.empty());
    EXPECT_EQ(r.payloads, std::vector<std::string>{R"({"amount":30})"});
    EXPECT_FALSE(r.options.concurrent);
    EXPECT_FALSE(r.options.wait_result);
    EXPECT_EQ(r.options.timeout_to_fail, Seconds(0));
    EXPECT_EQ(r.options.retry_limit, 0u);
}

TEST(WireRequest, GoSagaWithEverything) {
    // The sample orders steps that it does not have, which is harmless as it has one only.
    const std::string head =
        R"({"gid":"gid1","trans_type":"saga","custom_data":"{\"concurrent\":true,\"orders\":{\"2\":[0,1]}}","wait_result":true,"timeout_to_fail":60,"request_timeout":5,"retry_interval":20,"branch_headers":{"h":"v"},"concurrent":true,"retry_limit":3,"steps":[)";
    const std::string step = R"({"action":"http://a","compensate":"http://b"})";
    const auto sample = parse(head + step + R"(],"payloads":["{\"amount\":30}"],"protocol":""})");
    EXPECT_TRUE(sample.options.concurrent);
    EXPECT_TRUE(sample.branches.at(0).after.empty());
    EXPECT_THROW(parse(head + step + "," + step + R"(],"payloads":["1","2"]})"), BadRequest);
    const auto r = parse(head + step + "," + step + "," + step +
                         R"(],"payloads":["{\"amount\":30}","2","3"],"protocol":""})");
    EXPECT_TRUE(r.options.concurrent);
    EXPECT_TRUE(r.options.wait_result);
    EXPECT_EQ(r.options.timeout_to_fail, Seconds(60));
    EXPECT_EQ(r.options.request_timeout, Seconds(5));
    EXPECT_EQ(r.options.retry_interval, Seconds(20));
    EXPECT_EQ(r.options.retry_limit, 3u);
    EXPECT_EQ(r.options.branch_headers, (std::map<std::string, std::string>{{"h", "v"}}));
    EXPECT_EQ(r.branches[2].after, (std::vector<std::uint32_t>{0, 1}));
    EXPECT_EQ(r.branches[2].branch_id, "03");
}

TEST(WireRequest, GoMsgWithDelay) {
    const auto r = parse(
        R"({"gid":"gid2","trans_type":"msg","custom_data":"{\"delay\":10}","concurrent":false,"steps":[{"action":"http://a"}],"payloads":["1"],"query_prepared":"http://q","protocol":""})");
    EXPECT_EQ(r.type, core::TransType::msg);
    EXPECT_EQ(r.options.delay, Seconds(10));
    EXPECT_EQ(r.query_prepared, "http://q");
    EXPECT_EQ(r.payloads[0], "1");
}

TEST(WireRequest, GoTccXaAndWorkflowAreNamedAsUnsupported) {
    for (
        const char* text :
        {R"({"gid":"gid3","trans_type":"tcc","concurrent":false,"protocol":""})",
         R"({"gid":"gid3","trans_type":"xa","concurrent":false,"protocol":""})",
         R"({"gid":"gid4","trans_type":"workflow","req_extra":{"status":"succeed","rollback_reason":"","result":""}})",
         R"({"gid":"gid4","trans_type":"workflow","custom_data":"{\"data\":\"eyJhbW91bnQiOjMwfQ==\",\"name\":\"wf1\"}","concurrent":false,"query_prepared":"http://localhost:8081/api/busi/workflow/resume","protocol":"http"})"}) {
        try {
            parse(text);
            ADD_FAILURE() << text;
        } catch (const BadRequest& error) {
            EXPECT_EQ(error.path, "$.trans_type");
            EXPECT_NE(std::string(error.what()).find("not supported by this version"),
                      std::string::npos);
            EXPECT_NE(error.hint.find("saga and msg"), std::string::npos);
        }
    }
}

// ---- leniency -----------------------------------------------------------------------------------

TEST(WireRequest, UnknownFieldsAndNullsAreAbsent) {
    const auto r = parse(saga(
        R"("subType":1,"branch_id":"x","passthrough_headers":["a"],"gid":null,"custom_data":null,)"
        R"("wait_result":null,"timeout_to_fail":null,"retry_limit":null,"branch_headers":null,)"
        R"("protocol":null,"concurrent":null,"query_prepared":null,"status":17,"ext_data":{})"));
    EXPECT_EQ(r.gid, "");
    EXPECT_EQ(r.protocol, "http");
    EXPECT_TRUE(r.options.branch_headers.empty());
}

TEST(WireRequest, KeysInAnyCaseExactOneFirst) {
    const auto r = parse(
        R"({"GID":"g1","Trans_Type":"saga","STEPS":[{"Action":"http://a","COMPENSATE":"http://b"}],"Payloads":["1"],"Custom_Data":"{\"CONCURRENT\":true}"})");
    EXPECT_EQ(r.gid, "g1");
    EXPECT_EQ(r.branches[0].action, "http://a");
    EXPECT_EQ(r.branches[0].compensate, "http://b");
    EXPECT_TRUE(r.options.concurrent);
    EXPECT_EQ(parse(saga(R"("gid":"right","GID":"wrong")")).gid, "right");
    EXPECT_EQ(parse(saga(R"("Gid":"first","GID":"last")")).gid, "last");
}

TEST(WireRequest, LastDuplicateWins) {
    EXPECT_EQ(parse(saga(R"("gid":"first","gid":"last")")).gid, "last");
    EXPECT_EQ(parse(saga(R"("retry_limit":"x","retry_limit":2)")).options.retry_limit, 2u);
}

TEST(WireRequest, WhitespaceAroundTheDocument) {
    EXPECT_EQ(parse(" \r\n\t" + saga(R"("gid":"g")") + " \n").gid, "g");
}

TEST(WireRequest, PayloadsAreKeptByteForByte) {
    const auto r =
        parse(R"({"trans_type":"saga","steps":[{"action":"http://a"},{"action":"http://b"},)"
              R"({"action":"http://c"}],"payloads":["{ \"a\" : 1.0e2 }\n","null",null]})");
    EXPECT_EQ(r.payloads[0], "{ \"a\" : 1.0e2 }\n");
    EXPECT_EQ(r.payloads[1], "null");
    EXPECT_EQ(r.payloads[2], "");
    EXPECT_EQ(
        parse(one_step(R"({"action":"http://a"})", R"(["\u00e4\ud83d\ude00\\u0000"])")).payloads[0],
        "\xC3\xA4\xF0\x9F\x98\x80\\u0000");
}

TEST(WireRequest, LegacyDataFollowsPayloads) {
    const auto old = parse(
        R"({"trans_type":"saga","steps":[{"action":"http://a","data":"1"},{"action":"http://b","data":"2"}]})");
    EXPECT_EQ(old.payloads, (std::vector<std::string>{"1", "2"}));
    const auto mixed = parse(
        R"({"trans_type":"saga","steps":[{"action":"http://a"},{"action":"http://b","data":"2"}],"payloads":["1"]})");
    EXPECT_EQ(mixed.payloads, (std::vector<std::string>{"1", "2"}));
}

TEST(WireRequest, ExtraPayloadsAreIgnored) {
    EXPECT_EQ(parse(one_step(R"({"action":"http://a"})", R"(["1","2","3"])")).payloads,
              std::vector<std::string>{"1"});
}

TEST(WireRequest, EmptyUrlsAreAllowed) {
    const auto r = parse(one_step("{}"));
    EXPECT_EQ(r.branches[0].action, "");
    EXPECT_EQ(r.branches[0].compensate, "");
    EXPECT_EQ(parse(msg(R"("query_prepared":"")")).query_prepared, "");
}

TEST(WireRequest, UrlsThatAreAccepted) {
    for (const char* url :
         {"http://a", "https://a/", "HTTP://A", "http://a:80", "http://a:/x", "http://a:65535?x#y",
          "http://[::1]:80/", "http://[::1]", "http://user:pa@host/", "http://a/b%20c",
          "http://h\xC3\xBC.de/\xC3\xA4", "http://a/topic://x"}) {
        EXPECT_EQ(parse(one_step(std::string(R"({"action":")") + url + R"("})")).branches[0].action,
                  url);
    }
}

TEST(WireRequest, ConcurrentOfASagaIsInItsCustomData) {
    EXPECT_FALSE(parse(saga(R"("concurrent":true)")).options.concurrent);
    EXPECT_TRUE(parse(saga(R"("custom_data":"{\"concurrent\":true}")")).options.concurrent);
    EXPECT_TRUE(parse(msg(R"("concurrent":true)")).options.concurrent);
    EXPECT_FALSE(parse(msg(R"("custom_data":"{\"concurrent\":true}")")).options.concurrent);
}

TEST(WireRequest, Orders) {
    const auto r = parse(saga(R"("custom_data":"{\"orders\":{\"1\":[0,0]}}")"));
    EXPECT_FALSE(r.options.concurrent);  // kept all the same: honoured on top of the serial rule
    EXPECT_TRUE(r.branches[0].after.empty());
    EXPECT_EQ(r.branches[1].after, std::vector<std::uint32_t>{0});
    for (const char* none :
         {R"({\"orders\":null})", R"({\"orders\":{}})", R"({\"orders\":{\"1\":null}})",
          R"({\"orders\":{\"1\":[]}})", "null", "{}", ""}) {
        const auto serial = parse(saga(std::string(R"("custom_data":")") + none + "\""));
        EXPECT_TRUE(serial.branches[1].after.empty()) << none;
    }
}

TEST(WireRequest, DelayInAnyCase) {
    for (const char* key : {"delay", "Delay", "DELAY"}) {
        EXPECT_EQ(
            parse(msg(std::string(R"("custom_data":"{\")") + key + R"(\":7}")")).options.delay,
            Seconds(7));
    }
    EXPECT_EQ(parse(saga(R"("custom_data":"{\"delay\":7}")")).options.delay, Seconds(0));
}

TEST(WireRequest, ExactProgressIsOurOwnOption) {
    EXPECT_TRUE(parse(saga(R"("exact_progress":true)")).options.exact_progress);
}

TEST(WireRequest, TopicsBecomeBranches) {
    const auto one = parse(msg("", "topic://one"));
    ASSERT_EQ(one.branches.size(), 1u);
    EXPECT_EQ(one.branches[0].branch_id, "01");
    EXPECT_EQ(one.branches[0].action, "http://s1/a");

    const auto r = parse(
        R"({"trans_type":"msg","steps":[{"action":"http://x"},{"action":"topic://two"},{"action":"http://y"}],"payloads":["1","2","3"]})");
    ASSERT_EQ(r.branches.size(), 4u);
    EXPECT_EQ(r.branches[1].branch_id, "02-01");
    EXPECT_EQ(r.branches[1].action, "http://s1/a");
    EXPECT_EQ(r.branches[2].branch_id, "02-02");
    EXPECT_EQ(r.branches[2].action, "http://s2/b");
    EXPECT_EQ(r.branches[2].step, 1u);
    EXPECT_EQ(r.branches[3].branch_id, "03");
    EXPECT_EQ(r.branches[3].step, 2u);
    EXPECT_EQ(r.payloads.size(), 3u);
}

TEST(WireRequest, CompensateOfAMsgIsIgnored) {
    const auto r = parse(
        R"({"trans_type":"msg","steps":[{"action":"http://a","compensate":"no url at all"}],"payloads":["1"]})");
    EXPECT_EQ(r.branches[0].compensate, "");
}

TEST(WireRequest, HundredthStep) {
    std::string steps;
    std::string payloads;
    for (int i = 0; i < 100; ++i) {
        steps += (i == 0 ? "" : ",") + std::string(R"({"action":"http://a"})");
        payloads += (i == 0 ? "" : ",") + std::string(R"("1")");
    }
    const auto r =
        parse(R"({"trans_type":"saga","steps":[)" + steps + R"(],"payloads":[)" + payloads + "]}");
    EXPECT_EQ(r.branches[8].branch_id, "09");
    EXPECT_EQ(r.branches[98].branch_id, "99");
    EXPECT_EQ(r.branches[99].branch_id, "100");
}

TEST(WireRequest, HeaderValuesAreTrimmedAndNullsLeftOut) {
    const auto r =
        parse(saga(R"("branch_headers":{"X-A":" v\t","X-B":null,"X-C":"","X-D":"a\tb \u00e4"})"));
    EXPECT_EQ(r.options.branch_headers, (std::map<std::string, std::string>{
                                            {"X-A", "v"}, {"X-C", ""}, {"X-D", "a\tb \xC3\xA4"}}));
}

// ---- refusals -----------------------------------------------------------------------------------

struct Refusal {
    std::string text;
    std::string path;
    std::string message;  // a part of it
};

void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.text.substr(0, 200); }

class WireRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(WireRefusal, IsABadRequest) {
    try {
        parse(GetParam().text);
        FAIL() << "accepted";
    } catch (const BadRequest& error) {
        EXPECT_EQ(error.path, GetParam().path);
        EXPECT_NE(std::string(error.what()).find(GetParam().message), std::string::npos)
            << error.what();
        EXPECT_LT(std::string(error.what()).size(), 300u);
    }
}

std::string action(const std::string& url) { return one_step(R"({"action":")" + url + R"("})"); }
std::string orders(const std::string& json) { return saga(R"("custom_data":")" + json + "\""); }
std::string header(const std::string& json) { return saga(R"("branch_headers":{)" + json + "}"); }

INSTANTIATE_TEST_SUITE_P(
    Document, WireRefusal,
    testing::Values(Refusal{"", "$", "ends too early"}, Refusal{"   ", "$", "ends too early"},
                    Refusal{"{", "$", "ends too early"},
                    Refusal{"{\"gid\":}", "$", "not valid JSON (byte 8)"},
                    Refusal{saga("") + "x", "$", "after the end"},
                    Refusal{saga("") + saga(""), "$", "after the end"},
                    Refusal{"{'gid':1}", "$", "not valid JSON"},
                    Refusal{"{\"gid\":\"\xff\"}", "$", "not valid JSON"},
                    Refusal{"{\"gid\":\"a\nb\"}", "$", "not valid JSON"},
                    Refusal{R"({"gid":"\ud800"})", "$", "not valid JSON"},
                    Refusal{std::string(100, '['), "$", "nested too deeply"},
                    Refusal{R"({"x":)" + std::string(100, '[') + std::string(100, ']') + "}", "$",
                            "nested too deeply"},
                    Refusal{"[]", "$", "the request must be an object, not a list"},
                    Refusal{"null", "$", "must be an object, not null"},
                    Refusal{"\"x\"", "$", "must be an object, not a string"}));

INSTANTIATE_TEST_SUITE_P(
    Kinds, WireRefusal,
    testing::Values(
        Refusal{saga(R"("gid":1)"), "$.gid", "gid must be a string, not a number"},
        Refusal{R"({"trans_type":1})", "$.trans_type", "must be a string, not a number"},
        Refusal{saga(R"("protocol":[])"), "$.protocol", "must be a string, not a list"},
        Refusal{saga(R"("custom_data":{})"), "$.custom_data", "must be a string, not an object"},
        Refusal{saga(R"("wait_result":"true")"), "$.wait_result",
                "must be true or false, not a string"},
        Refusal{saga(R"("wait_result":1)"), "$.wait_result", "must be true or false, not a number"},
        Refusal{saga(R"("concurrent":"x")"), "$.concurrent", "must be true or false"},
        Refusal{saga(R"("exact_progress":0)"), "$.exact_progress", "must be true or false"},
        Refusal{saga(R"("timeout_to_fail":"60")"), "$.timeout_to_fail",
                "a whole number, not a string"},
        Refusal{saga(R"("request_timeout":1.5)"), "$.request_timeout", "a whole number"},
        Refusal{saga(R"("request_timeout":1e1)"), "$.request_timeout", "a whole number"},
        Refusal{saga(R"("retry_interval":true)"), "$.retry_interval", "a whole number"},
        Refusal{saga(R"("retry_limit":[])"), "$.retry_limit", "a whole number, not a list"},
        Refusal{saga(R"("timeout_to_fail":-1)"), "$.timeout_to_fail", "must not be negative"},
        Refusal{saga(R"("request_timeout":-1)"), "$.request_timeout", "must not be negative"},
        Refusal{saga(R"("retry_interval":-1)"), "$.retry_interval", "must not be negative"},
        Refusal{saga(R"("retry_limit":-1)"), "$.retry_limit", "must not be negative"},
        Refusal{saga(R"("retry_limit":4294967296)"), "$.retry_limit", "larger than 4294967295"},
        Refusal{saga(R"("timeout_to_fail":316224001)"), "$.timeout_to_fail",
                "larger than 316224000"},
        Refusal{saga(R"("timeout_to_fail":18446744073709551615)"), "$.timeout_to_fail",
                "larger than"},
        Refusal{saga(R"("timeout_to_fail":99999999999999999999)"), "$.timeout_to_fail",
                "too large"}));

INSTANTIATE_TEST_SUITE_P(
    Head, WireRefusal,
    testing::Values(
        Refusal{R"({"gid":"g"})", "$.trans_type", "trans_type is missing"},
        Refusal{R"({"trans_type":""})", "$.trans_type", "trans_type is missing"},
        Refusal{R"({"trans_type":"sage"})", "$.trans_type", "unknown trans_type \"sage\""},
        Refusal{R"({"trans_type":"SAGA"})", "$.trans_type", "unknown trans_type"},
        Refusal{saga(R"("protocol":"grpc")"), "$.protocol", "not supported by this version"},
        Refusal{saga(R"("protocol":"json-rpc")"), "$.protocol", "not supported by this version"},
        Refusal{saga(R"("protocol":"smtp")"), "$.protocol", "unknown protocol \"smtp\""},
        Refusal{saga(R"("gid":"a'b")"), "$.gid", "a quote at byte 2"},
        Refusal{saga(R"("gid":"a\u0000b")"), "$.gid", "a control character at byte 2"}));

INSTANTIATE_TEST_SUITE_P(
    Steps, WireRefusal,
    testing::Values(
        Refusal{R"({"trans_type":"saga"})", "$.steps", "steps are missing"},
        Refusal{R"({"trans_type":"saga","steps":null})", "$.steps", "steps are missing"},
        Refusal{R"({"trans_type":"msg","steps":[]})", "$.steps", "at least one step"},
        Refusal{R"({"trans_type":"msg","steps":{}})", "$.steps",
                "steps must be a list, not an object"},
        Refusal{R"({"trans_type":"saga","steps":["http://a"],"payloads":["1"]})", "$.steps[0]",
                "a step must be an object"},
        Refusal{R"({"trans_type":"saga","steps":[{},null],"payloads":["1","2"]})", "$.steps[1]",
                "not null"},
        Refusal{R"({"trans_type":"saga","steps":[{},{"action":1}],"payloads":["1","2"]})",
                "$.steps[1].action", "steps[1].action must be a string, not a number"},
        Refusal{R"({"trans_type":"saga","steps":[{},{"compensate":{}}],"payloads":["1","2"]})",
                "$.steps[1].compensate", "must be a string, not an object"},
        Refusal{R"({"trans_type":"saga","steps":[{"data":{}}]})", "$.steps[0].data",
                "must be a string"},
        Refusal{R"({"trans_type":"saga","steps":[{},{}],"payloads":["1"]})", "$.payloads",
                "there are 2 steps, but only 1 payloads"},
        Refusal{R"({"trans_type":"saga","steps":[{}]})", "$.payloads", "only 0 payloads"},
        Refusal{R"({"trans_type":"saga","steps":[{}],"payloads":"1"})", "$.payloads",
                "must be a list"},
        Refusal{R"({"trans_type":"saga","steps":[{}],"payloads":[{"amount":30}]})", "$.payloads[0]",
                "payloads[0] must be a string, not an object"},
        Refusal{R"({"trans_type":"saga","steps":[{},{}],"payloads":["1","a\u0000"]})",
                "$.payloads[1]", "the character NUL (\\u0000) at byte 2"},
        Refusal{R"({"trans_type":"saga","steps":[{"data":"\u0000"}]})", "$.steps[0].data", "NUL"},
        Refusal{action("http://a\\u0000"), "$.steps[0].action", "NUL"}));

INSTANTIATE_TEST_SUITE_P(
    Urls, WireRefusal,
    testing::Values(
        Refusal{action("a"), "$.steps[0].action", "does not begin with http:// or https://"},
        Refusal{action("//a/b"), "$.steps[0].action", "does not begin with"},
        Refusal{action("ftp://a"), "$.steps[0].action", "does not begin with"},
        Refusal{action("file:///etc/passwd"), "$.steps[0].action", "does not begin with"},
        Refusal{action("sql:app.f"), "$.steps[0].action", "does not begin with"},
        Refusal{action("localhost:9080/busi.Busi/TransIn"), "$.steps[0].action",
                "does not begin with"},
        Refusal{action("topic://one"), "$.steps[0].action", "a topic cannot be used here"},
        Refusal{action("http://"), "$.steps[0].action", "has no host"},
        Refusal{action("http:///path"), "$.steps[0].action", "has no host"},
        Refusal{action("http://?x"), "$.steps[0].action", "has no host"},
        Refusal{action("http://:80/"), "$.steps[0].action", "has no host"},
        Refusal{action("http://user@/"), "$.steps[0].action", "has no host"},
        Refusal{action("http://[]/"), "$.steps[0].action", "has no host"},
        Refusal{action("http://[::1/"), "$.steps[0].action", "closing bracket"},
        Refusal{action("http://[::1]x/"), "$.steps[0].action", "between its IPv6 address"},
        Refusal{action("http://a:0/"), "$.steps[0].action", "a port that is not"},
        Refusal{action("http://a:65536/"), "$.steps[0].action", "a port that is not"},
        Refusal{action("http://a:8o/"), "$.steps[0].action", "a port that is not"},
        Refusal{action("http://a:99999999999999999999/"), "$.steps[0].action",
                "a port that is not"},
        Refusal{action("http://a b/"), "$.steps[0].action", "a space at byte 9"},
        Refusal{action(" http://a"), "$.steps[0].action", "a space at byte 1"},
        Refusal{action("http://a/\\r\\nX: y"), "$.steps[0].action",
                "a control character at byte 10"},
        Refusal{action("http://a/\\u007f"), "$.steps[0].action", "a control character"},
        Refusal{action("http://a\\\\@b/"), "$.steps[0].action", "a backslash in its host"},
        Refusal{action("http://" + std::string(8200, 'a')), "$.steps[0].action",
                "the limit is 8192"},
        Refusal{one_step(R"({"action":"","compensate":"x"})"), "$.steps[0].compensate",
                "does not begin with"},
        Refusal{msg(R"("query_prepared":"q")"), "$.query_prepared", "does not begin with"},
        Refusal{msg(R"("query_prepared":"topic://one")"), "$.query_prepared", "a topic cannot"},
        Refusal{msg(R"("query_prepared":1)"), "$.query_prepared", "must be a string"},
        Refusal{msg("", "topic://"), "$.steps[0].action", "topic not found"},
        Refusal{msg("", "topic://nobody"), "$.steps[0].action", "topic not found"},
        Refusal{msg("", "topic://bad"), "$.steps[0].action", "does not begin with"}));

INSTANTIATE_TEST_SUITE_P(
    CustomData, WireRefusal,
    testing::Values(
        Refusal{orders("{"), "$.custom_data", "ends too early"},
        Refusal{orders("{} x"), "$.custom_data", "after the end"},
        Refusal{orders("[]"), "$.custom_data", "must be the JSON text of an object, not a list"},
        Refusal{orders(R"({\"concurrent\":1})"), "$.custom_data.concurrent",
                "must be true or false"},
        Refusal{orders(R"({\"orders\":[[0]]})"), "$.custom_data.orders", "not a list"},
        Refusal{orders(R"({\"orders\":{\"1\":0}})"), R"($.custom_data.orders["1"])",
                "must be a list"},
        Refusal{orders(R"({\"orders\":{\"1\":[\"0\"]}})"), R"($.custom_data.orders["1"][0])",
                "must be the number of a step, not a string"},
        Refusal{orders(R"({\"orders\":{\"1\":[0,2]}})"), R"($.custom_data.orders["1"][1])",
                "there is no step 2; steps are numbered 0 to 1"},
        Refusal{orders(R"({\"orders\":{\"1\":[-1]}})"), R"($.custom_data.orders["1"][0])",
                "there is no step -1"},
        Refusal{orders(R"({\"orders\":{\"1\":[1]}})"), R"($.custom_data.orders["1"][0])",
                "step 1 waits for itself"},
        Refusal{orders(R"({\"orders\":{\"2\":[0]}})"), R"($.custom_data.orders["2"])",
                "there is no step 2"},
        Refusal{orders(R"({\"orders\":{\"99999999999\":[0]}})"),
                R"($.custom_data.orders["99999999999"])", "there is no step 99999999999"},
        Refusal{orders(R"({\"orders\":{\"x\":[0]}})"), "$.custom_data.orders.x",
                "is not the number of a step"},
        Refusal{orders(R"({\"orders\":{\"01\":[0]}})"), R"($.custom_data.orders["01"])",
                "is not the number of a step"},
        Refusal{orders(R"({\"orders\":{\"\":[0]}})"), R"($.custom_data.orders[""])",
                "is not the number of a step"},
        Refusal{orders(R"({\"orders\":{\"1\":[0],\"0\":[1]}})"), "$.custom_data.orders",
                "the orders form a cycle: step 0 waits for 1 waits for 0"},
        Refusal{orders(R"({\"orders\":{\"0\":[1]}})"), R"($.custom_data.orders["0"])",
                "step 0 of a serial saga waits for the later step 1"},
        Refusal{msg(R"("custom_data":"{\"delay\":-1}")"), "$.custom_data.delay",
                "must not be negative"},
        Refusal{msg(R"("custom_data":"{\"Delay\":\"1\"}")"), "$.custom_data.delay",
                "a whole number"},
        Refusal{msg(R"("custom_data":"{\"delay\":1.5}")"), "$.custom_data.delay", "a whole number"},
        Refusal{msg(R"("custom_data":"{\"delay\":999999999999}")"), "$.custom_data.delay",
                "must not be larger"}));

INSTANTIATE_TEST_SUITE_P(
    Headers, WireRefusal,
    testing::Values(
        Refusal{saga(R"("branch_headers":[])"), "$.branch_headers", "not a list"},
        Refusal{header(R"("X-A":1)"), R"($.branch_headers["X-A"])",
                "must be a string, not a number"},
        Refusal{header(R"("":"v")"), R"($.branch_headers[""])", "an empty name"},
        Refusal{header(R"("X A":"v")"), R"($.branch_headers["X A"])", "does not allow"},
        Refusal{header(R"("X:A":"v")"), R"($.branch_headers["X:A"])", "does not allow"},
        Refusal{header(R"("X\u0000":"v")"), R"($.branch_headers["X\u0000"])", "does not allow"},
        Refusal{header(R"("\u00e4":"v")"), "$.branch_headers[\"\xC3\xA4\"]", "does not allow"},
        Refusal{header(R"("a":"v\r\nX: y")"), "$.branch_headers.a", "a line break"},
        Refusal{header(R"("a":"v\nw")"), "$.branch_headers.a", "a line break"},
        Refusal{header(R"("a":"v\u0000")"), "$.branch_headers.a", "control character"},
        Refusal{header(R"("content-length":"1")"), R"($.branch_headers["content-length"])",
                "cannot be set"},
        Refusal{header(R"("Transfer-Encoding":"chunked")"),
                R"($.branch_headers["Transfer-Encoding"])", "cannot be set"},
        Refusal{header(R"("HOST":"x")"), "$.branch_headers.HOST", "cannot be set"},
        Refusal{header(R"("Connection":"close")"), "$.branch_headers.Connection", "cannot be set"},
        Refusal{header(R"("Expect":"100-continue")"), "$.branch_headers.Expect", "cannot be set"},
        Refusal{header(R"("a":"1","A":"2")"), "$.branch_headers.A", "given twice"},
        Refusal{header("\"" + std::string(300, 'n') + R"(":"v")"),
                "$.branch_headers." + std::string(300, 'n'), "longer than 256"},
        Refusal{header(R"("a":")" + std::string(9000, 'v') + "\""), "$.branch_headers.a",
                "longer than 8192"}));

// ---- limits -------------------------------------------------------------------------------------

TEST(WireLimits, AreBadRequests) {
    Limits limits;
    limits.max_body_bytes = 10;
    EXPECT_THROW(parse(saga(""), limits), BadRequest);
    limits = Limits();
    limits.max_steps = 1;
    EXPECT_THROW(parse(saga(""), limits), BadRequest);
    EXPECT_NO_THROW(parse(msg("", "topic://one"), limits));
    EXPECT_THROW(parse(msg("", "topic://two"), limits), BadRequest);
    limits = Limits();
    limits.max_headers = 1;
    EXPECT_NO_THROW(parse(header(R"("a":"1")"), limits));
    EXPECT_THROW(parse(header(R"("a":"1","b":"2")"), limits), BadRequest);
    limits = Limits();
    limits.max_gid_bytes = 3;
    EXPECT_NO_THROW(parse(saga(R"("gid":"abc")"), limits));
    EXPECT_THROW(parse(saga(R"("gid":"abcd")"), limits), BadRequest);
    limits = Limits();
    limits.max_depth = 2;
    EXPECT_THROW(parse(saga(""), limits), BadRequest);
}

TEST(WireLimits, LongCyclesAreFoundAndNamed) {
    std::string steps = "{}";
    std::string payloads = "\"\"";
    std::string order;
    for (int i = 1; i < 1000; ++i) {
        steps += ",{}";
        payloads += ",\"\"";
        order += (i == 1 ? "" : ",") + std::string(R"(\")") + std::to_string(i) + R"(\":[)" +
                 std::to_string(i - 1) + "]";
    }
    const auto request = [&](const std::string& all) {
        return R"({"trans_type":"saga","custom_data":"{\"concurrent\":true,\"orders\":{)" + all +
               R"(}}","steps":[)" + steps + R"(],"payloads":[)" + payloads + "]}";
    };
    EXPECT_EQ(parse(request(order)).branches[999].after, std::vector<std::uint32_t>{998});
    try {
        parse(request(order + R"(,\"0\":[999])"));
        FAIL() << "accepted";
    } catch (const BadRequest& error) {
        EXPECT_EQ(error.path, "$.custom_data.orders");
        EXPECT_LT(std::string(error.what()).size(), 300u);
    }
}

// ---- hostile text -------------------------------------------------------------------------------

TEST(WireRequest, DamagedTextIsRefusedOrRead) {
    // Never anything but a BadRequest, and what is read survives its way into the row and back.
    const std::string originals[] = {
        saga(
            R"("gid":"g","custom_data":"{\"concurrent\":true,\"orders\":{\"1\":[0]}}","wait_result":true,"timeout_to_fail":60,"branch_headers":{"h":"v","i":"w"},"retry_limit":3)"),
        msg(R"("gid":"g","custom_data":"{\"delay\":10}","query_prepared":"http://q","concurrent":true)",
            "topic://two"),
    };
    const unsigned seed = std::random_device()();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    constexpr std::string_view spice = "{}[]\",:\\u0019-.eE \n\0\xff\xc3";
    std::size_t accepted = 0;
    for (int i = 0; i < 20000; ++i) {
        std::string text = originals[i % 2];
        for (unsigned change = 0; change <= random() % 3; ++change) {
            const std::size_t at = random() % text.size();
            switch (random() % 4) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, random() % 8);
                    break;
                case 2:
                    text.insert(at, text.substr(random() % text.size(), random() % 16));
                    break;
                default:
                    text[at] = spice[random() % spice.size()];
                    break;
            }
        }
        try {
            const core::Request request = parse(text);
            const std::string stored = encode_request(request);
            EXPECT_EQ(encode_request(decode_request(request.gid, request.type, stored)), stored)
                << text;
            EXPECT_EQ(stored.find('\0'), std::string::npos);
            ++accepted;
        } catch (const BadRequest& error) {
            EXPECT_TRUE(error.path.starts_with("$")) << text;
            EXPECT_STRNE(error.what(), "") << text;
        }
    }
    EXPECT_GT(accepted, 100u);
}

// ---- gid ----------------------------------------------------------------------------------------

TEST(WireGid, Rule) {
    for (const std::string_view good :
         {"g", "a b", "\xC3\xA4", "order-1:x/y?z=%&", "\xF0\x9F\x98\x80"}) {
        EXPECT_NO_THROW(check_gid(good)) << good;
    }
    EXPECT_NO_THROW(check_gid(std::string(128, 'g')));
    using namespace std::string_view_literals;
    for (const std::string_view bad :
         {""sv, "a\0b"sv, "a\nb"sv, "a\rb"sv, "\t"sv, "\x7f"sv, "\xC2\x85"sv, "a'b"sv, "a\"b"sv,
          "a`b"sv, "a;b"sv, "a\\b"sv, "\xff"sv, "\xC0\xAF"sv, "\xED\xA0\x80"sv,
          "\xF4\x90\x80\x80"sv, "\xC3"sv}) {
        try {
            check_gid(bad);
            ADD_FAILURE() << bad;
        } catch (const BadRequest& error) {
            EXPECT_EQ(error.path, "$.gid");
        }
    }
    EXPECT_THROW(check_gid(std::string(129, 'g')), BadRequest);
}

TEST(WireGid, FreshOnesAreShortUuids) {
    std::array<std::uint8_t, 16> entropy{};
    // 00000000-0000-4000-8000-000000000000 and ffffffff-ffff-4fff-bfff-ffffffffffff in base 57,
    // computed independently with Python's integers.
    EXPECT_EQ(make_gid(entropy), "222222226WxN9XkumNJJJ8");
    entropy.fill(0xff);
    EXPECT_EQ(make_gid(entropy), "oZEq7ovRNwEcvxsXMLKUsV");
    std::set<std::string> all;
    for (int i = 0; i < 1000; ++i) {
        entropy[0] = static_cast<std::uint8_t>(i);
        entropy[1] = static_cast<std::uint8_t>(i >> 8);
        const std::string gid = make_gid(entropy);
        EXPECT_EQ(gid.size(), 22u);
        EXPECT_EQ(
            gid.find_first_not_of("23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"),
            std::string::npos);
        EXPECT_NO_THROW(check_gid(gid));
        all.insert(gid);
    }
    EXPECT_EQ(all.size(), 1000u);
}

}  // namespace
