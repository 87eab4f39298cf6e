// parse_trans(): the transaction object as each command of the API takes it; parse_target().
#include "wire/api_request.hpp"
#include "wire/query.hpp"
#include "wire/stored.hpp"
#include "wire_testkit.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using namespace dtm::wire::test;
using core::Command;
using core::TransType;

constexpr Command all_commands[] = {Command::prepare, Command::submit,
                                    Command::abort,   Command::force_stop,
                                    Command::hurry,   Command::prepare_workflow};

TransCall read(std::string_view text, Command command, const Limits& limits = {}) {
    return parse_trans(text, command, topics, limits);
}

// The message of the refusal, "" when there is none.
std::string refused(std::string_view text, Command command, const Limits& limits = {}) {
    try {
        read(text, command, limits);
        return "";
    } catch (const BadRequest& bad) {
        return bad.path + ": " + bad.what();
    }
}

testing::AssertionResult has(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos ? testing::AssertionSuccess()
                                                : testing::AssertionFailure() << text;
}

// ---- Appendix B, byte for byte ------------------------------------------------------------------

constexpr const char* go_saga =
    R"({"gid":"gid1","trans_type":"saga","concurrent":false,"steps":[{"action":"http://a","compensate":"http://b"}],"payloads":["{\"amount\":30}"],"protocol":""})";
constexpr const char* go_saga_full =
    R"({"gid":"gid1","trans_type":"saga","custom_data":"{\"concurrent\":true,\"orders\":{\"2\":[0,1]}}","wait_result":true,"timeout_to_fail":60,"request_timeout":5,"retry_interval":20,"branch_headers":{"h":"v"},"concurrent":true,"retry_limit":3,"steps":[{"action":"http://a","compensate":"http://b"}],"payloads":["{\"amount\":30}"],"protocol":""})";
constexpr const char* go_msg =
    R"({"gid":"gid2","trans_type":"msg","custom_data":"{\"delay\":10}","concurrent":false,"steps":[{"action":"http://a"}],"payloads":["1"],"query_prepared":"http://q","protocol":""})";
constexpr const char* go_tcc =
    R"({"gid":"gid3","trans_type":"tcc","concurrent":false,"protocol":""})";
constexpr const char* go_tcc_abort =
    R"({"gid":"gid3","trans_type":"tcc","concurrent":false,"protocol":"","rollback_reason":"no money"})";
constexpr const char* go_workflow =
    R"({"gid":"gid4","trans_type":"workflow","custom_data":"{\"data\":\"eyJhbW91bnQiOjMwfQ==\",\"name\":\"wf1\"}","concurrent":false,"query_prepared":"http://localhost:8081/api/busi/workflow/resume","protocol":"http"})";
constexpr const char* go_workflow_end =
    R"({"gid":"gid4","trans_type":"workflow","req_extra":{"status":"succeed","rollback_reason":"","result":"YQ=="}})";

TEST(WireApiRequest, GoSagaIsReadAsSqlReadsIt) {
    for (const char* text : {go_saga, go_saga_full, go_msg}) {
        for (const Command command : {Command::prepare, Command::submit}) {
            const TransCall call = read(text, command);
            EXPECT_EQ(call.command, command);
            const core::Request same = parse(text);
            EXPECT_EQ(call.request.gid, same.gid);
            EXPECT_EQ(call.request.type, same.type);
            EXPECT_EQ(encode_request(call.request), encode_request(same));
        }
    }
    EXPECT_TRUE(read(go_saga_full, Command::submit).request.options.wait_result);
}

TEST(WireApiRequest, GoTcc) {
    for (const Command command : {Command::prepare, Command::submit}) {
        const TransCall call = read(go_tcc, command);
        EXPECT_EQ(call.command, command);
        EXPECT_EQ(call.request.gid, "gid3");
        EXPECT_EQ(call.request.type, TransType::tcc);
        EXPECT_EQ(call.request.protocol, "http");
        EXPECT_TRUE(call.request.branches.empty());
    }
    const TransCall abort = read(go_tcc_abort, Command::abort);
    EXPECT_EQ(abort.command, Command::abort);
    EXPECT_EQ(abort.request.type, TransType::tcc);
    EXPECT_EQ(abort.rollback_reason, "no money");
}

TEST(WireApiRequest, GoWorkflow) {
    for (const Command command : {Command::prepare_workflow, Command::prepare}) {
        const TransCall call = read(go_workflow, command);
        EXPECT_EQ(call.command, command);
        EXPECT_EQ(call.request.type, TransType::workflow);
        EXPECT_EQ(call.request.query_prepared, "http://localhost:8081/api/busi/workflow/resume");
        EXPECT_EQ(call.request.custom_data, R"({"data":"eyJhbW91bnQiOjMwfQ==","name":"wf1"})");
        EXPECT_EQ(call.request.workflow_name, "wf1");
        EXPECT_EQ(call.request.workflow_data, R"({"amount":30})");
    }
    const TransCall end = read(go_workflow_end, Command::submit);
    EXPECT_EQ(end.command, Command::finish);
    EXPECT_EQ(end.request.gid, "gid4");
    EXPECT_EQ(end.end, core::Status::succeed);
    EXPECT_EQ(end.result, "YQ==");
    EXPECT_EQ(end.rollback_reason, "");
}

// ---- what each command looks at -----------------------------------------------------------------

TEST(WireApiRequest, AGidIsNeededEverywhere) {
    for (const Command command : all_commands) {
        for (const char* gid : {"", R"("gid":"",)", R"("gid":null,)"}) {
            EXPECT_EQ(refused(std::string("{") + gid + R"("trans_type":"tcc"})", command),
                      "$.gid: no gid specified");
        }
        EXPECT_TRUE(has(refused(R"({"gid":1,"trans_type":"tcc"})", command),
                        "$.gid: gid must be a string, not a number"));
        EXPECT_TRUE(has(refused(R"({"gid":"a;b","trans_type":"tcc"})", command),
                        "$.gid: the gid has a semicolon at byte 2"));
        EXPECT_TRUE(has(refused(R"({"gid":"a\rb","trans_type":"tcc"})", command),
                        "$.gid: the gid has a line break at byte 2"));
        EXPECT_TRUE(has(refused(R"({"gid":")" + std::string(129, 'g') + "\"}", command),
                        "the limit is 128"));
    }
    try {
        read(R"({"gid":"a;b"})", Command::abort);
        FAIL() << "accepted";
    } catch (const BadRequest& bad) {
        EXPECT_TRUE(has(bad.hint, "A dtm server deletes it silently."));
    }
}

TEST(WireApiRequest, UnknownTypes) {
    for (const Command command : {Command::prepare, Command::submit, Command::abort}) {
        EXPECT_EQ(refused(R"({"gid":"g","trans_type":"sage"})", command),
                  "$.trans_type: unknow trans type: sage");
        EXPECT_EQ(refused(R"({"gid":"g"})", command), "$.trans_type: trans_type is missing");
        EXPECT_EQ(refused(R"({"gid":"g","trans_type":null})", command),
                  "$.trans_type: trans_type is missing");
        EXPECT_TRUE(has(refused(R"({"gid":"g","trans_type":7})", command), "must be a string"));
    }
    EXPECT_EQ(refused(R"({"gid":"g","trans_type":"saga"})", Command::prepare_workflow),
              "$.trans_type: prepareWorkflow is for workflows, not for trans type: saga");
}

TEST(WireApiRequest, ForceStopAndHurryLookAtTheGidAlone) {
    for (const Command command : {Command::force_stop, Command::hurry}) {
        for (const char* text :
             {R"({"gid":"g"})", R"({"gid":"g","trans_type":"nothing","steps":1,"protocol":[]})"}) {
            const TransCall call = read(text, command);
            EXPECT_EQ(call.command, command);
            EXPECT_EQ(call.request.gid, "g");
        }
    }
}

TEST(WireApiRequest, AbortLooksAtGidTypeAndReason) {
    const TransCall call = read(
        R"({"gid":"g","trans_type":"msg","steps":{},"payloads":1,"protocol":"grpc","timeout_to_fail":-1,"custom_data":[],"query_prepared":7,"rollback_reason":null})",
        Command::abort);
    EXPECT_EQ(call.request.type, TransType::msg);
    EXPECT_EQ(call.rollback_reason, "");
    EXPECT_TRUE(
        has(refused(R"({"gid":"g","trans_type":"tcc","rollback_reason":[]})", Command::abort),
            "$.rollback_reason: rollback_reason must be a string, not a list"));
    EXPECT_TRUE(
        has(refused(R"({"gid":"g","trans_type":"tcc","rollback_reason":"\u0000"})", Command::abort),
            "NUL"));
}

TEST(WireApiRequest, StepsAreNeededForSagaAndMsgOnly) {
    for (const Command command : {Command::prepare, Command::submit}) {
        EXPECT_EQ(refused(R"({"gid":"g","trans_type":"saga"})", command),
                  "$.steps: steps are missing");
        EXPECT_EQ(refused(R"({"gid":"g","trans_type":"msg","steps":[{}]})", command),
                  "$.payloads: there are 1 steps, but only 0 payloads");
        EXPECT_EQ(
            refused(R"({"gid":"g","trans_type":"msg","steps":[{"action":"topic://no"}]})", command),
            "$.steps[0].action: topic not found");
        for (const char* type : {"tcc", "xa"}) {
            const TransCall call = read(
                std::string(R"({"gid":"g","steps":[{"action":1}],"payloads":7,)") +
                    R"("custom_data":"kept [","timeout_to_fail":7,"branch_headers":{"h":"v"},)" +
                    R"("protocol":"json-rpc","trans_type":")" + type + "\"}",
                command);
            EXPECT_TRUE(call.request.branches.empty());
            EXPECT_EQ(call.request.custom_data, "kept [");
            EXPECT_EQ(call.request.options.timeout_to_fail, core::Seconds(7));
            EXPECT_EQ(call.request.options.branch_headers.at("h"), "v");
            EXPECT_EQ(call.request.protocol, "json-rpc");
        }
    }
}

TEST(WireApiRequest, SubscribersOfATopic) {
    const TransCall call = read(
        R"({"gid":"g","trans_type":"msg","steps":[{"action":"topic://two"}],"payloads":["1"]})",
        Command::prepare);
    ASSERT_EQ(call.request.branches.size(), 2u);
    EXPECT_EQ(call.request.branches[1].branch_id, "01-02");
}

TEST(WireApiRequest, Protocols) {
    const auto with = [](const char* protocol) {
        return std::string(R"({"gid":"g","trans_type":"xa","protocol":)") + protocol + "}";
    };
    for (const char* http : {"null", "\"\"", "\"http\""}) {
        EXPECT_EQ(read(with(http), Command::prepare).request.protocol, "http");
    }
    EXPECT_EQ(read(with("\"json-rpc\""), Command::prepare).request.protocol, "json-rpc");
    EXPECT_EQ(refused(with("\"grpc\""), Command::prepare),
              "$.protocol: protocol \"grpc\" is not supported by this version");
    EXPECT_EQ(refused(with("\"smtp\""), Command::prepare), "$.protocol: unknown protocol \"smtp\"");
}

TEST(WireApiRequest, WorkflowsCustomData) {
    const auto with = [](const std::string& data) {
        return R"({"gid":"g","trans_type":"workflow","custom_data":)" + data + "}";
    };
    const auto name = [&](const std::string& data) {
        const core::Request r = read(with(data), Command::prepare_workflow).request;
        return r.workflow_name + "|" + r.workflow_data;
    };
    EXPECT_EQ(name(R"("{\"name\":\"w\"}")"), "w|");
    EXPECT_EQ(name(R"("{\"name\":\"w\",\"data\":null}")"), "w|");
    EXPECT_EQ(name(R"("{\"Name\":\"w\",\"DATA\":\"\"}")"), "w|");
    EXPECT_EQ(name(R"("{\"name\":\"w\",\"data\":\"AP8=\"}")"), std::string("w|\0\xff", 4));
    for (const char* data :
         {"null", "\"\"", "\"null\"", "\"x\"", "\"[]\"", "\"{}\"", R"("{\"name\":\"\"}")",
          R"("{\"name\":7}")", R"("{\"name\":\"w\",\"data\":\"?\"}")",
          R"("{\"name\":\"w\",\"data\":\"YQ\"}")", R"("{\"name\":\"w\",\"data\":{}}")"}) {
        EXPECT_TRUE(has(refused(with(data), Command::prepare_workflow), "$.custom_data")) << data;
    }
    EXPECT_TRUE(has(refused(with(R"("{\"name\":\")" + std::string(1025, 'w') + R"(\"}")"),
                            Command::prepare_workflow),
                    "the limit is 1024"));
}

TEST(WireApiRequest, WorkflowsEnd) {
    const auto end = [](const std::string& extra) {
        return R"({"gid":"g","trans_type":"workflow","steps":1,"custom_data":2,"req_extra":)" +
               extra + "}";
    };
    const TransCall failed =
        read(end(R"({"status":"failed","rollback_reason":"no","result":null,"more":1})"),
             Command::submit);
    EXPECT_EQ(failed.command, Command::finish);
    EXPECT_EQ(failed.end, core::Status::failed);
    EXPECT_EQ(failed.rollback_reason, "no");
    EXPECT_EQ(read(end(R"({"status":"succeed"})"), Command::finish).end, core::Status::succeed);
    // D35: dtm stores any text.
    for (const char* extra : {"null", "{}", R"({"status":""})", R"({"status":"prepared"})",
                              R"({"status":"SUCCEED"})", R"({"status":null})"}) {
        EXPECT_TRUE(has(refused(end(extra), Command::submit),
                        "$.req_extra.status: a workflow cannot end with status \""))
            << extra;
    }
    EXPECT_TRUE(has(refused(end("[]"), Command::submit), "req_extra must be an object"));
    EXPECT_TRUE(has(refused(end(R"({"status":"failed","result":1})"), Command::submit),
                    "$.req_extra.result"));
}

// ---- leniency -----------------------------------------------------------------------------------

TEST(WireApiRequest, ToleratesWhatClientsSend) {
    const TransCall call = read(
        R"({"GID":"first","gid":"g","Trans_Type":"saga","subType":1,"subType":"x","branch_id":null,)"
        R"("passthrough_headers":[],"op":[],"bin_payloads":null,"status":17,"options":{},"ext_data":9,)"
        R"("custom_data":null,"query_prepared":null,"protocol":null,"retry_count":null,)"
        R"("wait_result":null,"request_timeout":8,"steps":[{"action":"http://a","data":"1"}]})",
        Command::submit);
    EXPECT_EQ(call.request.gid, "g");
    EXPECT_EQ(call.request.payloads, std::vector<std::string>{"1"});
    EXPECT_EQ(call.request.options.request_timeout, core::Seconds(8));
}

TEST(WireApiRequest, RefusesWhatDtmCannotDecode) {
    for (const Command command : all_commands) {
        EXPECT_TRUE(has(refused("", command), "ends too early"));
        EXPECT_TRUE(has(refused("{", command), "ends too early"));
        EXPECT_TRUE(has(refused("null", command), "must be an object, not null"));
        EXPECT_TRUE(has(refused("[]", command), "must be an object, not a list"));
        EXPECT_TRUE(has(refused(R"({"gid":"g","trans_type":"tcc"} x)", command), "after the end"));
        EXPECT_TRUE(has(refused(std::string(100, '['), command), "nested too deeply"));
    }
    Limits limits;
    limits.max_body_bytes = 10;
    EXPECT_TRUE(has(refused(R"({"gid":"g"}     )", Command::force_stop, limits),
                    "$: the request is 16 bytes long, the limit is 10"));
    const auto tcc = [](const std::string& member) {
        return R"({"gid":"g","trans_type":"tcc",)" + member + "}";
    };
    for (const std::string member :
         {R"("wait_result":"true")", R"("timeout_to_fail":"1")", R"("timeout_to_fail":1.5)",
          R"("timeout_to_fail":-1)", R"("request_timeout":-1)", R"("retry_interval":-1)",
          R"("retry_limit":-1)", R"("branch_headers":[])", R"("branch_headers":{"h":1})",
          R"("custom_data":{})", R"("protocol":1)"}) {
        const std::string path = "$." + member.substr(1, member.find('"', 1) - 1);
        const std::string why = refused(tcc(member), Command::prepare);
        EXPECT_TRUE(why.starts_with(path)) << member << ": " << why;
    }
}

TEST(WireApiRequest, ParamsOfJsonRpcAreTheSameObject) {
    const json::Document document(go_saga, 32);
    const TransCall call = parse_trans(document.root(), Command::submit, topics);
    EXPECT_EQ(encode_request(call.request), encode_request(parse(go_saga)));
    EXPECT_THROW(parse_trans(json::Value(), Command::submit, topics), BadRequest);
}

// ---- targets ------------------------------------------------------------------------------------

TEST(WireTarget, PathAndParameters) {
    using Parameters = std::map<std::string, std::string>;
    const struct {
        const char* target;
        const char* path;
        Parameters parameters;
    } table[] = {
        {"/api/dtmsvr/query?gid=a%20b", "/api/dtmsvr/query", {{"gid", "a b"}}},
        {"/api/ping", "/api/ping", {}},
        {"/api/ping?", "/api/ping", {}},
        {"/p?gid=1&gid=2&a=b+c%2B", "/p", {{"gid", "1"}, {"a", "b c+"}}},
        {"/p?a&b=&=c&&d=e=f", "/p", {{"a", ""}, {"b", ""}, {"d", "e=f"}}},
        {"/p?a=%zz%4&b=%", "/p", {{"a", "%zz%4"}, {"b", "%"}}},
        {"/p?a=1#b=2", "/p", {{"a", "1"}}},
        {"/topic/a%2Fb+c%20d", "/topic/a/b+c d", {}},
        {"//a//b", "//a//b", {}},
        {"http://host:1/p?a=1", "/p", {{"a", "1"}}},
        {"http://host", "", {}},
        {"http://host?a=http://x/y", "", {{"a", "http://x/y"}}},
        {"p?a=http://x/y", "p", {{"a", "http://x/y"}}},
        {"/p?a=http://x/y", "/p", {{"a", "http://x/y"}}},
        {"*", "*", {}},
        {"", "", {}},
    };
    for (const auto& row : table) {
        const Target target = parse_target(row.target);
        EXPECT_EQ(target.path, row.path) << row.target;
        EXPECT_EQ(target.parameters, row.parameters) << row.target;
    }
}

// What is put into a Location reads as the same path again.
TEST(WireTarget, EscapedPathsReadAsTheSame) {
    const std::pair<std::string, std::string> table[] = {
        {"/api/dtmsvr/topic/orders?old", "/api/dtmsvr/topic/orders%3Fold"},
        {"/topic/50% off#1", "/topic/50%25%20off%231"},
        {"/a-._~!$&'()*+,;=:@/Zz09", "/a-._~!$&'()*+,;=:@/Zz09"},
        {"/\xc3\xa4\x01\r\n\"\\[]{|}^`", "/%C3%A4%01%0D%0A%22%5C%5B%5D%7B%7C%7D%5E%60"},
        {std::string("/\0\x7f\xff", 4), "/%00%7F%FF"},
        {"", ""},
    };
    for (const auto& [path, escaped] : table) {
        EXPECT_EQ(escaped_path(path), escaped);
        EXPECT_EQ(parse_target(escaped).path, path) << escaped;
    }
}

}  // namespace
