// parse_submit(): what is refused, at which path and with which words.
#include "wire_testkit.hpp"

#include <gtest/gtest.h>

#include <ostream>

namespace {

using namespace dtm::wire;
using namespace dtm::wire::test;

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
        Refusal{R"({"gid":"g","trans_type":"workflow"})", "$.trans_type", "from SQL"},
        Refusal{R"({"gid":"g","trans_type":"tcc","steps":[{}]})", "$.steps", "a tcc has no steps"},
        Refusal{R"({"gid":"","trans_type":"xa"})", "$.gid", "the gid is missing"},
        Refusal{R"({"gid":"g","trans_type":"tcc","timeout_to_fail":-1})", "$.timeout_to_fail",
                "must not be negative"},
        Refusal{saga(R"("gid":"a\nb")"), "$.gid", "a line break at byte 2"},
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

}  // namespace
