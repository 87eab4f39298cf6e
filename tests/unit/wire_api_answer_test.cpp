// What clients of dtm read, byte for byte: results (dtm-compat.md 1.2), objects (1.6), JSON-RPC
// responses (3.2).
#include "wire/api_answer.hpp"
#include "wire/stored.hpp"
#include "wire_testkit.hpp"

#include <gtest/gtest.h>

#include <set>

namespace {

using namespace dtm;
using namespace dtm::wire;
using namespace dtm::wire::test;
using core::Micros;
using core::Time;
using Kind = ApiOutcome::Kind;

constexpr Time born{Micros(1767323045678000)};  // 2026-01-02T03:04:05.678Z
constexpr Time later{Micros(1767323046000000)};

TEST(WireAnswer, Results) {
    const std::tuple<Kind, const char*, unsigned, const char*, int> table[] = {
        {Kind::success, "", 200, R"({"dtm_result":"SUCCESS"})", -32603},
        {Kind::failure, "current status 'succeed', cannot prepare. FAILURE", 409,
         R"({"dtm_result":"FAILURE","message":"current status 'succeed', cannot prepare. FAILURE"})",
         -32901},
        {Kind::ongoing, "ONGOING", 425, R"({"dtm_result":"ONGOING","message":"ONGOING"})", -32603},
        {Kind::error, "no gid specified", 500, R"({"message":"no gid specified"})", -32603},
        {Kind::bad_body, "no JSON", 400, R"({"message":"no JSON"})", -32603},
        {Kind::unavailable, "later", 503, R"({"message":"later"})", -32603},
    };
    for (const auto& [kind, message, status, json, code] : table) {
        EXPECT_EQ(http_status(kind), status);
        EXPECT_EQ(outcome_json({kind, message}), json);
        EXPECT_EQ(rpc_code(kind), code);
    }
    EXPECT_EQ(outcome_json({Kind::error, ""}), R"({"message":""})");
    EXPECT_EQ(outcome_json({Kind::error, std::string("a\0\xff\"\n", 5)}),
              R"({"message":"a??\"\n"})");
}

TEST(WireAnswer, Refusals) {
    try {
        parse(R"({"trans_type":"saga"})");
        FAIL() << "accepted";
    } catch (const BadRequest& bad) {
        const ApiOutcome outcome = refusal(bad);
        EXPECT_EQ(outcome.kind, Kind::error);
        EXPECT_EQ(outcome.message,
                  "steps are missing. steps is a list of objects with the keys action and "
                  "compensate. ($.steps)");
    }
    EXPECT_EQ(refusal(BadRequest("$.gid", "no gid specified")).message, "no gid specified ($.gid)");
    EXPECT_EQ(refusal(BadBody("$", "no JSON")).message, "no JSON");
}

TEST(WireAnswer, JsonRpc) {
    EXPECT_EQ(rpc_result("no-use", "null"),
              R"({"error":null,"id":"no-use","jsonrpc":"2.0","result":null})");
    EXPECT_EQ(rpc_result("a\"b", R"({"gid":"g"})"),
              R"({"error":null,"id":"a\"b","jsonrpc":"2.0","result":{"gid":"g"}})");
    EXPECT_EQ(
        rpc_error("no-use", -32901, "current status 'succeed', cannot prepare. FAILURE"),
        R"({"error":{"code":-32901,"message":"current status 'succeed', cannot prepare. FAILURE"},"id":"no-use","jsonrpc":"2.0","result":{}})");
    EXPECT_EQ(rpc_error("", -32700, "\xff"),
              R"({"error":{"code":-32700,"message":"?"},"id":"","jsonrpc":"2.0","result":{}})");
}

TEST(WireAnswer, Rfc3339) {
    const std::pair<std::int64_t, const char*> table[] = {
        {1767323045678000, "2026-01-02T03:04:05.678Z"},
        {1767323045000000, "2026-01-02T03:04:05Z"},
        {1767323045000001, "2026-01-02T03:04:05.000001Z"},
        {1767323050100000, "2026-01-02T03:04:10.1Z"},
        {0, "1970-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {1709210096789012, "2024-02-29T12:34:56.789012Z"},
        {253402300799999999, "9999-12-31T23:59:59.999999Z"},
    };
    for (const auto& [micros, text] : table) EXPECT_EQ(rfc3339(Time(Micros(micros))), text);
}

std::string other_time(Time) { return "some time"; }

TEST(WireAnswer, Transaction) {
    const core::Request request = parse(
        R"({"gid":"g1","trans_type":"saga","custom_data":"{\"concurrent\":true,\"orders\":{\"1\":[0]}}","wait_result":true,"timeout_to_fail":60,"request_timeout":5,"retry_interval":20,"branch_headers":{"h":"v","i":""},"retry_limit":3,"steps":[{"action":"http://a"},{}],"payloads":["1",""]})");
    TransactionAnswer t;
    t.gid = "g1";
    t.trans_type = "saga";
    t.status = "failed";
    t.owner = "app";
    t.request = &request;
    t.create_time = born;
    t.update_time = later;
    t.finish_time = t.rollback_time = t.next_cron_time = later;
    t.next_cron_interval = 10;
    t.result = "r";
    t.rollback_reason = "no \"money\"";
    EXPECT_EQ(
        transaction_json(t),
        R"({"id":270542997,"create_time":"2026-01-02T03:04:05.678Z","update_time":"2026-01-02T03:04:06Z",)"
        R"("gid":"g1","trans_type":"saga","status":"failed","protocol":"http",)"
        R"("finish_time":"2026-01-02T03:04:06Z","rollback_time":"2026-01-02T03:04:06Z",)"
        R"("result":"r","rollback_reason":"no \"money\"",)"
        R"("options":"{\"wait_result\":true,\"timeout_to_fail\":60,\"request_timeout\":5,\"retry_interval\":20,\"branch_headers\":{\"h\":\"v\",\"i\":\"\"},\"concurrent\":true,\"retry_limit\":3}",)"
        R"("custom_data":"{\"concurrent\":true,\"orders\":{\"1\":[0]}}",)"
        R"("next_cron_interval":10,"next_cron_time":"2026-01-02T03:04:06Z","owner":"app","concurrent":true})");
}

TEST(WireAnswer, UnsetMembersAreLeftOut) {
    core::Request request;
    request.type = core::TransType::tcc;
    TransactionAnswer t;
    t.gid = "g";
    t.trans_type = "tcc";
    t.status = "prepared";
    t.request = &request;
    t.next_cron_interval = 0;
    EXPECT_EQ(
        transaction_json(t, other_time),
        R"({"id":1644963334,"create_time":"some time","update_time":"some time","gid":"g",)"
        R"("trans_type":"tcc","status":"prepared","protocol":"http","options":"{\"concurrent\":false}","concurrent":false})");
    t.request = nullptr;
    EXPECT_EQ(transaction_json(t, other_time),
              R"({"id":1644963334,"create_time":"some time","update_time":"some time","gid":"g",)"
              R"("trans_type":"tcc","status":"prepared","concurrent":false})");
}

TEST(WireAnswer, CustomDataIsAsItWasSent) {
    const auto custom_data = [](const core::Request& request) {
        TransactionAnswer t;
        t.gid = request.gid;
        t.request = &request;
        const json::Document document(transaction_json(t), 8);
        const json::Value value = document.root().find("custom_data");
        return value.is_null() ? std::string("absent") : std::string(value.string());
    };
    EXPECT_EQ(custom_data(parse(saga(""))), "absent");
    EXPECT_EQ(custom_data(parse(saga(R"("custom_data":"{\"orders\":{\"1\":[0]}}")"))),
              R"({"orders":{"1":[0]}})");
    EXPECT_EQ(custom_data(parse(msg(R"("custom_data":"{ \"Delay\": 7 }")"))), R"({"delay":7})");
    const std::string workflow = R"({"data":"YQ==","name":"w"})";
    EXPECT_EQ(
        custom_data(decode_request("g", core::TransType::workflow,
                                   R"({"custom_data":"{\"data\":\"YQ==\",\"name\":\"w\"}"})")),
        workflow);
}

TEST(WireAnswer, IdsArePositiveAndFitInto31Bits) {
    TransactionAnswer t;
    std::set<std::int64_t> ids;
    for (int i = 0; i < 2000; ++i) {
        const std::string gid = "gid" + std::to_string(i);
        t.gid = gid;
        const json::Document document(transaction_json(t), 8);
        const std::int64_t id = *document.root().find("id").integer();
        EXPECT_GT(id, 0);
        EXPECT_LT(id, std::int64_t{1} << 31);
        ids.insert(id);
    }
    EXPECT_GT(ids.size(), 1990u);
}

TEST(WireAnswer, Branch) {
    BranchAnswer b;
    b.create_time = born;
    b.update_time = later;
    EXPECT_EQ(
        branch_json(b),
        R"({"id":1,"create_time":"2026-01-02T03:04:05.678Z","update_time":"2026-01-02T03:04:06Z"})");
    b.gid = "g1";
    b.url = "http://u";
    b.bin_data = R"({"amount":30})";
    b.branch_id = "01";
    b.op = "action";
    b.status = "succeed";
    b.finish_time = later;
    EXPECT_EQ(
        branch_json(b, other_time),
        R"({"id":1,"create_time":"some time","update_time":"some time","gid":"g1","url":"http://u",)"
        R"("bin_data":"eyJhbW91bnQiOjMwfQ==","branch_id":"01","op":"action","status":"succeed","finish_time":"some time"})");
}

TEST(WireAnswer, KvLeavesNothingOut) {
    KvAnswer kv;
    kv.create_time = born;
    kv.update_time = later;
    kv.cat = "topics";
    kv.k = "t1";
    kv.v = R"([{"url":"http://a","remark":"r"}])";
    kv.version = 2;
    EXPECT_EQ(
        kv_json(kv),
        R"({"id":759035117,"create_time":"2026-01-02T03:04:05.678Z","update_time":"2026-01-02T03:04:06Z",)"
        R"("cat":"topics","k":"t1","v":"[{\"url\":\"http://a\",\"remark\":\"r\"}]","version":2})");
    kv.cat = kv.k = kv.v = "";
    EXPECT_NE(kv_json(kv).find(R"("cat":"","k":"","v":"","version":2)"), std::string::npos);
}

TEST(WireAnswer, ListsAndObjects) {
    EXPECT_EQ(json_list({}), "[]");
    EXPECT_EQ(json_list(std::vector<std::string>{"1", "{}"}), "[1,{}]");
    EXPECT_EQ(json_object({}), "{}");
    const std::pair<std::string_view, std::string> members[] = {{"b\"", "[]"}, {"a", "null"}};
    EXPECT_EQ(json_object(members), R"({"b\"":[],"a":null})");
    EXPECT_EQ(json_string("a\"b"), R"("a\"b")");
}

TEST(WireText, Base64) {
    const std::pair<std::string, const char*> table[] = {
        {"", ""},
        {"a", "YQ=="},
        {"ab", "YWI="},
        {"abc", "YWJj"},
        {std::string("\0\xff\x10", 3), "AP8Q"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (const auto& [bytes, text] : table) {
        EXPECT_EQ(base64(bytes), text);
        EXPECT_EQ(unbase64(text), bytes);
    }
    for (const char* none :
         {"Y", "YQ", "YQ=", "=", "====", "Y===", "YQ==YQ==", "Y Q=", "YQ=\n", "YW-_"}) {
        EXPECT_FALSE(unbase64(none)) << none;
    }
}

}  // namespace
