// parse_submit(): what is accepted and what becomes of it, and which limits and rules hold.
// Refusals have a file of their own.
#include "wire/stored.hpp"
#include "wire_testkit.hpp"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <set>

namespace {

using namespace dtm;
using namespace dtm::wire;
using namespace dtm::wire::test;
using core::Seconds;

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

TEST(WireRequest, PreparedTccAndXaAreSubmittedByTheirGid) {
    const auto tcc =
        parse(R"({"gid":"gid3","trans_type":"tcc","concurrent":false,"protocol":"","steps":[]})");
    EXPECT_EQ(tcc.gid, "gid3");
    EXPECT_EQ(tcc.type, core::TransType::tcc);
    EXPECT_TRUE(tcc.branches.empty());
    const auto xa = parse(R"({"gid":"gid3","trans_type":"xa","custom_data":"as it is"})");
    EXPECT_EQ(xa.type, core::TransType::xa);
    EXPECT_EQ(xa.custom_data, "as it is");
}

TEST(WireRequest, JsonRpcTakesObjectsAsPayloads) {
    const auto request = [](const std::string& url, const std::string& payload) {
        return R"({"trans_type":"saga","protocol":"json-rpc","steps":[{},{"compensate":")" + url +
               R"("}],"payloads":["[1]",)" + payload + "]}";
    };
    for (const char* payload : {R"("")", R"("null")", R"("{\"a\":[1]}")", "null"}) {
        EXPECT_EQ(parse(request("http://a?method=b", payload)).protocol, "json-rpc") << payload;
    }
    EXPECT_EQ(parse(request("http://a", R"("[1]")")).payloads[1], "[1]");  // plain HTTP
    for (const char* payload : {R"("[1]")", R"("1")", R"("x")", R"("{\"a\":}")"}) {
        try {
            parse(request("http://a?method=b", payload));
            ADD_FAILURE() << payload;
        } catch (const BadRequest& error) {
            EXPECT_EQ(error.path, "$.payloads[1]");
            EXPECT_NE(std::string(error.what()).find("must be the JSON text of an object"),
                      std::string::npos)
                << error.what();
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
