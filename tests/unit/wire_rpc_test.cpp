// JSON-RPC on both sides: the envelope that clients send, and branches that are called by it.
#include "wire/api_answer.hpp"
#include "wire/api_request.hpp"
#include "wire/branch_call.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using core::Op;
using core::Result;

// ---- the envelope -------------------------------------------------------------------------------

TEST(WireRpc, GoSubmit) {
    const RpcRead read = parse_rpc(
        R"({"jsonrpc":"2.0","id":"no-use","method":"submit","params":{"gid":"g1","trans_type":"msg","protocol":"json-rpc","steps":[{"action":"http://..."}],"payloads":["{\"amount\":30}"],"concurrent":false}})");
    ASSERT_TRUE(read.call);
    EXPECT_EQ(read.call->id, "no-use");
    EXPECT_EQ(read.call->method, RpcMethod::submit);
    const TransCall call = parse_trans(read.call->params, core::Command::submit, {});
    EXPECT_EQ(call.request.gid, "g1");
    EXPECT_EQ(call.request.protocol, "json-rpc");
}

TEST(WireRpc, EveryMethodWithAnyParams) {
    for (const auto& [name, method] : {std::pair("newGid", RpcMethod::new_gid),
                                       {"prepare", RpcMethod::prepare},
                                       {"submit", RpcMethod::submit},
                                       {"abort", RpcMethod::abort},
                                       {"registerBranch", RpcMethod::register_branch}}) {
        for (const char* params :
             {"", R"(,"params":"x")", R"(,"params":null)", R"(,"params":[1])"}) {
            const RpcRead read = parse_rpc(R"({"JSONRPC":"2.0","id":"1","method":")" +
                                           std::string(name) + "\"" + params + "} trailing");
            ASSERT_TRUE(read.call) << read.fault.message;
            EXPECT_EQ(read.call->method, method);
        }
    }
}

TEST(WireRpc, ParamsOfRegisterBranch) {
    const RpcRead read = parse_rpc(
        R"({"jsonrpc":"2.0","id":"1","method":"registerBranch","params":{"gid":"g","trans_type":"xa","branch_id":"01","url":"http://u"}})");
    ASSERT_TRUE(read.call);
    EXPECT_EQ(parse_registration(read.call->params).url, "http://u");
}

TEST(WireRpc, Faults) {
    const std::tuple<std::string, int, const char*, const char*> table[] = {
        {"", -32700, "", "ends too early"},
        {"x", -32700, "", "not valid JSON"},
        {"null", -32700, "", "an object, not null"},
        {R"([{"jsonrpc":"2.0"}])", -32700, "", "an object, not a list"},
        {std::string(100, '['), -32700, "", "nested too deeply"},
        {R"({"jsonrpc":"2.0","id":1,"method":"newGid"})", -32700, "", "id must be a string"},
        {R"({"jsonrpc":2.0,"id":"i","method":"newGid"})", -32700, "i", "jsonrpc must be a string"},
        {R"({"jsonrpc":"2.0","id":"i","method":{}})", -32700, "i", "method must be a string"},
        {R"({"jsonrpc":"2.0","method":"newGid"})", -32600, "", "\"id\":\"\""},
        {R"({"jsonrpc":"2.0","id":null,"method":"newGid"})", -32600, "", "\"method\":\"newGid\""},
        {R"({"jsonrpc":"2.0","id":"","method":"newGid"})", -32600, "", "not empty"},
        {R"({"id":"i","method":"newGid"})", -32600, "i", "{\"jsonrpc\":\"\""},
        {R"({"jsonrpc":"1.0","id":"i","method":"newGid"})", -32600, "i", "{\"jsonrpc\":\"1.0\""},
        {R"({"jsonrpc":"2.0","id":"i"})", -32601, "i", "no method \"\""},
        {R"({"jsonrpc":"2.0","id":"i","method":"query"})", -32601, "i", "no method \"query\""},
        {R"({"jsonrpc":"2.0","id":"i","method":"NEWGID"})", -32601, "i", "no method \"NEWGID\""},
    };
    for (const auto& [text, code, id, message] : table) {
        const RpcRead read = parse_rpc(text);
        EXPECT_FALSE(read.call) << text;
        EXPECT_EQ(read.fault.code, code) << text;
        EXPECT_EQ(read.fault.id, id) << text;
        EXPECT_NE(read.fault.message.find(message), std::string::npos) << read.fault.message;
    }
    Limits limits;
    limits.max_body_bytes = 5;
    EXPECT_EQ(parse_rpc("      ", limits).fault.code, -32700);
}

// ---- branches -----------------------------------------------------------------------------------

std::shared_ptr<core::Request> saga(const std::string& url, const std::string& payload) {
    auto request = std::make_shared<core::Request>();
    request->gid = "g";
    request->protocol = "json-rpc";
    request->branches = {{.branch_id = "01",
                          .action = url,
                          .compensate = "http://b/undo?method=undo",
                          .step = 0,
                          .after = {}}};
    request->payloads = {payload};
    return request;
}

std::string body_of(const std::string& payload, const std::string& url = "http://b/p?method=m") {
    return std::string(branch_call(saga(url, payload), 0, Op::action, {}).body);
}

TEST(WireRpcBranch, Call) {
    const BranchCall call = branch_call(
        saga("http://b/p?x=1&method=do+it%21#f", R"({"amount":30})"), 0, Op::action, {});
    EXPECT_TRUE(call.post);
    EXPECT_EQ(call.url, "http://b/p?x=1&method=do+it%21");
    EXPECT_EQ(
        call.body,
        R"({"jsonrpc":"2.0","method":"do it!","id":"g-01-action","params":{"amount":30,"gid":"g","trans_type":"saga","branch_id":"01","op":"action"}})");
    EXPECT_EQ(call.headers->front(), "Content-Type: application/json");
    const BranchCall undo = branch_call(saga("", ""), 0, Op::compensate, {});
    EXPECT_EQ(undo.url, "http://b/undo?method=undo");
    EXPECT_NE(undo.body.find(R"("op":"compensate")"), undo.body.npos);
}

TEST(WireRpcBranch, BodyOutlivesTheRequest) {
    BranchCall call;
    {
        const auto request = saga("http://b?method=m", R"({"a":1})");
        call = branch_call(request, 0, Op::action, {});
    }
    EXPECT_NE(call.body.find(R"("a":1)"), call.body.npos);
}

TEST(WireRpcBranch, PayloadsAreKeptAndTheIdentityWins) {
    const std::string start = R"({"jsonrpc":"2.0","method":"m","id":"g-01-action","params":{)";
    const std::string identity =
        R"("gid":"g","trans_type":"saga","branch_id":"01","op":"action"}})";
    const std::pair<const char*, const char*> table[] = {
        {R"({"gid":1,"op":["}"],"branch_id":null,"trans_type":{"a":[]},"x":1})", R"("x":1,)"},
        {R"({"x":"op","\u0067id":"\"","y":"gid" , "op":"\\"})", R"("x":"op","y":"gid" ,)"},
        // Spelled as they were sent: money must not go through a double.
        {R"( { "a" : [ 1 , -2 , 1.10 , 1e3, true, null, {} , [] ], "ä" : "\n" } )",
         R"("a" : [ 1 , -2 , 1.10 , 1e3, true, null, {} , [] ],"ä" : "\n" ,)"},
        {R"({"n":99999999999999999999.10,"m":1e999})", R"("n":99999999999999999999.10,"m":1e999,)"},
        {R"({"":{"a":{"b":[[{"gid":"kept"}]]}},"s":"}],{\""})",
         R"("":{"a":{"b":[[{"gid":"kept"}]]}},"s":"}],{\"",)"},
        {"{}", ""},
        // D4: dtm fails for ever with these.
        {"", ""},
        {"null", ""},
        {"[1]", ""},
        {"7", ""},
        {"\"x\"", ""},
        {"no JSON", ""},
        {"{\"a\":1", ""},
    };
    for (const auto& [payload, members] : table) {
        EXPECT_EQ(body_of(payload), start + members + identity) << payload;
    }
}

TEST(WireRpcBranch, TheMethodIsAParameterOfTheUrl) {
    const std::pair<const char*, const char*> table[] = {
        {"http://b?method=m", "m"},
        {"https://b/?a=1&method=m&method=n", "m"},
        {"http://b/method", ""},
        {"http://b/?methods=1", ""},
        {"http://b/?x=1#?method=m", ""},
        {"http://b/?method", ""},
        {"http://b/?method=%22%5C", "\\\"\\\\"},
        {"http://b/?method=%ff", "?"},
    };
    for (const auto& [url, method] : table) {
        EXPECT_NE(body_of("{}", url).find(R"("method":")" + std::string(method) + R"(","id")"),
                  std::string::npos)
            << body_of("{}", url);
    }
}

TEST(WireRpcBranch, OtherUrlsAndProtocolsArePlainHttp) {
    auto request = saga("http://b/p", R"({"a":1})");
    const BranchCall plain = branch_call(request, 0, Op::action, {});
    EXPECT_EQ(plain.url, "http://b/p?branch_id=01&gid=g&op=action&trans_type=saga");
    EXPECT_EQ(plain.body, R"({"a":1})");
    request->protocol = "http";
    request->branches[0].action = "http://b/p?method=m";
    EXPECT_EQ(branch_call(request, 0, Op::action, {}).body, R"({"a":1})");
}

TEST(WireRpcBranch, QueryPrepared) {
    auto request = saga("http://b?method=m", "{}");
    request->type = core::TransType::msg;
    request->query_prepared = "http://q/ask";
    const BranchCall plain = branch_call(request, 0, Op::query, {});
    EXPECT_FALSE(plain.post);
    EXPECT_EQ(plain.url, "http://q/ask?branch_id=00&gid=g&op=msg&trans_type=msg");
    request->query_prepared = "http://q/ask?method=asked";
    const BranchCall rpc = branch_call(request, 0, Op::query, {});
    EXPECT_TRUE(rpc.post);
    EXPECT_EQ(
        rpc.body,
        R"({"jsonrpc":"2.0","method":"asked","id":"g-00-msg","params":{"gid":"g","trans_type":"msg","branch_id":"00","op":"msg"}})");
}

TEST(WireRpcBranch, Classify) {
    const std::tuple<long, const char*, Result, const char*> table[] = {
        {200, R"({"jsonrpc":"2.0","id":"x","result":null})", Result::success, ""},
        {200, R"({"error":null,"result":{}})", Result::success, ""},
        {200, "{}", Result::success, ""},
        {200, R"({"error":{"code":-32901,"message":"no money"}})", Result::failure,
         R"({"error":{"code":-32901,"message":"no money"}} FAILURE)"},
        {200, R"({"error":{"code":-32902}})", Result::ongoing, R"({"error":{"code":-32902}})"},
        {200, R"({"Error":{"Code":"-32901"}})", Result::failure,
         R"({"Error":{"Code":"-32901"}} FAILURE)"},
        {200, R"({"error":{"code":-32902.0}})", Result::ongoing, R"({"error":{"code":-32902.0}})"},
        {200, R"({"error":{"code":-32603}})", Result::error, R"({"error":{"code":-32603}})"},
        {200, R"({"error":{"code":18446744073709551615}})", Result::error,
         R"({"error":{"code":18446744073709551615}})"},
        {200, R"({"error":{"code":null}})", Result::error, R"({"error":{"code":null}})"},
        {200, R"({"error":{}})", Result::error, R"({"error":{}})"},
        {200, R"({"error":"no"})", Result::error, R"({"error":"no"})"},
        {200, R"({"error":false})", Result::error, R"({"error":false})"},
        // A code that is an object with all the words: its text decides (3.3).
        {200, R"({"error":{"code":{"FAILURE":-32901,"ONGOING":-32902,"OTHER":-23603}}})",
         Result::ongoing,
         R"({"error":{"code":{"FAILURE":-32901,"ONGOING":-32902,"OTHER":-23603}}})"},
        {200, R"({"error":{"code":-1,"message":"FAILURE"}})", Result::failure,
         R"({"error":{"code":-1,"message":"FAILURE"}} FAILURE)"},
        {409, "{}", Result::failure, "{} FAILURE"},
        {500, R"({"error":{"code":-32901}})", Result::error, R"({"error":{"code":-32901}})"},
        {0, "timeout", Result::error, "timeout"},
        {200, "", Result::error,
         "the JSON-RPC answer cannot be read, the JSON text ends too early: "},
        {200, "ok", Result::error,
         "the JSON-RPC answer cannot be read, the text is not valid JSON: ok"},
        {200, "[]", Result::error, "the JSON-RPC answer is a list, not an object: []"},
    };
    const auto request = saga("http://b?method=m", "{}");
    for (const auto& [status, body, result, reason] : table) {
        const core::Outcome outcome = classify(*request, 0, Op::action, status, body);
        EXPECT_EQ(outcome.result, result) << status << " " << body;
        EXPECT_EQ(outcome.reason, reason) << status << " " << body;
    }
    const auto plain = saga("http://b", "{}");
    EXPECT_EQ(classify(*plain, 0, Op::action, 200, "ok").result, Result::success);
    EXPECT_EQ(classify(*plain, 0, Op::action, 200, R"({"error":{"code":-32901}})").result,
              Result::success);
}

}  // namespace
