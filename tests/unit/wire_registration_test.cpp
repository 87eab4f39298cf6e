// parse_registration(), and what becomes of a registered branch: its place in the request and its
// calls.
#include "core/decide.hpp"
#include "wire/api_answer.hpp"
#include "wire/branch_call.hpp"
#include "wire/stored.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using core::BranchStatus;
using core::Op;
using core::TransType;

// ---- Appendix B, byte for byte ------------------------------------------------------------------

TEST(WireRegistration, GoTcc) {
    const Registration r = parse_registration(
        R"({"gid":"gid3","trans_type":"tcc","branch_id":"01","data":"{\"amount\":30}","confirm":"http://c","cancel":"http://x"})");
    EXPECT_EQ(r.gid, "gid3");
    EXPECT_EQ(r.type, TransType::tcc);
    EXPECT_EQ(r.branch_id, "01");
    EXPECT_EQ(r.data, R"({"amount":30})");
    EXPECT_EQ(r.url, "http://c");
    EXPECT_EQ(r.cancel, "http://x");
    EXPECT_EQ(r.op, "");
    EXPECT_EQ(r.status, BranchStatus::prepared);
}

TEST(WireRegistration, GoXa) {
    const Registration r = parse_registration(
        R"({"gid":"g","trans_type":"xa","branch_id":"01","url":"http://phase2"})");
    EXPECT_EQ(r.type, TransType::xa);
    EXPECT_EQ(r.url, "http://phase2");
    EXPECT_EQ(r.cancel, "");
    EXPECT_EQ(r.data, "");
}

TEST(WireRegistration, GoWorkflow) {
    const Registration r = parse_registration(
        R"({"gid":"gid4","trans_type":"workflow","branch_id":"01","op":"action","status":"succeed","data":"<result as text>"})");
    EXPECT_EQ(r.type, TransType::workflow);
    EXPECT_EQ(r.op, "action");
    EXPECT_EQ(r.status, BranchStatus::succeed);
    EXPECT_EQ(r.data, "<result as text>");
    EXPECT_EQ(r.url, "");
}

// ---- leniency -----------------------------------------------------------------------------------

TEST(WireRegistration, ToleratesWhatClientsSend) {
    // Node and old PHP: `try` and `status`; nulls; keys twice; text after the object.
    const Registration r = parse_registration(
        R"({"gid":"h","gid":"g","trans_type":"tcc","branch_id":"0201","op":"try","status":"prepared",)"
        R"("try":"no url","confirm":null,"cancel":"","data":null,"url":"no url","sync":"1"} x)");
    EXPECT_EQ(r.gid, "g");
    EXPECT_EQ(r.branch_id, "0201");
    EXPECT_EQ(r.url, "");
    EXPECT_EQ(r.cancel, "");
    EXPECT_EQ(r.op, "");
    EXPECT_EQ(r.status, BranchStatus::prepared);
    EXPECT_EQ(r.data, "");
}

TEST(WireRegistration, DataAreBytes) {
    EXPECT_EQ(
        parse_registration(R"({"gid":"g","trans_type":"xa","branch_id":"1","data":"a\u0000"})")
            .data,
        std::string("a\0", 2));
}

// ---- refusals -----------------------------------------------------------------------------------

TEST(WireRegistration, WhatCannotBeDecodedIsABadBody) {
    const std::pair<const char*, const char*> table[] = {
        {"", "ends too early"},
        {"x", "not valid JSON"},
        {"null", "an object of strings, not null"},
        {"[]", "an object of strings, not a list"},
        {R"({"gid":1})", "\"gid\" must be a string, not a number"},
        {R"({"gid":"g","trans_type":"tcc","branch_id":"1","unknown":{}})",
         "\"unknown\" must be a string, not an object"},
        {R"({"gid":"g","trans_type":"tcc","branch_id":true})", "true or false"},
    };
    for (const auto& [text, message] : table) {
        try {
            parse_registration(text);
            ADD_FAILURE() << text;
        } catch (const BadBody& bad) {
            EXPECT_NE(std::string(bad.what()).find(message), std::string::npos) << bad.what();
            EXPECT_EQ(refusal(bad).kind, ApiOutcome::Kind::bad_body);
        }
    }
    EXPECT_THROW(parse_registration(std::string(100, '[')), BadBody);
}

TEST(WireRegistration, WhatIsWrongIsABadRequest) {
    const auto with = [](const std::string& type, const std::string& members) {
        return R"({"gid":"g","branch_id":"1","trans_type":")" + type + "\"" + members + "}";
    };
    const std::string step = R"(,"op":"action","status":"succeed")";
    const std::tuple<std::string, const char*, const char*> table[] = {
        {R"({"trans_type":"tcc"})", "$.gid", "no gid specified"},
        {R"({"gid":"a;b","trans_type":"tcc"})", "$.gid", "a semicolon"},
        {with("saga", ""), "$.trans_type", "unknow trans type: saga"},
        {with("TCC", ""), "$.trans_type", "unknow trans type: TCC"},
        {with("", ""), "$.trans_type", "unknow trans type: "},
        {R"({"gid":"g","trans_type":"tcc"})", "$.branch_id", "branch_id is missing"},
        {R"({"gid":"g","trans_type":"tcc","branch_id":""})", "$.branch_id", "is missing"},
        {R"({"gid":"g","trans_type":"tcc","branch_id":"\u0000"})", "$.branch_id", "NUL"},
        {R"({"gid":"g","trans_type":"tcc","branch_id":")" + std::string(129, '1') + "\"}",
         "$.branch_id", "129 bytes long, the limit is 128"},
        {with("tcc", R"(,"confirm":"c")"), "$.confirm", "does not begin with http"},
        {with("tcc", R"(,"cancel":"ftp://c")"), "$.cancel", "does not begin with http"},
        {with("xa", R"(,"url":"http://")"), "$.url", "has no host"},
        {with("workflow", R"(,"status":"succeed")"), "$.op", "op is missing"},
        {with("workflow", R"(,"status":"succeed","op":")" + std::string(129, 'o') + "\""), "$.op",
         "the limit is 128"},
        {with("workflow", R"(,"op":"action")"), "$.status", "cannot have status \"\""},
        {with("workflow", R"(,"op":"action","status":"prepared")"), "$.status", "\"prepared\""},
    };
    for (const auto& [text, path, message] : table) {
        try {
            parse_registration(text);
            ADD_FAILURE() << text;
        } catch (const BadBody&) {
            ADD_FAILURE() << text;
        } catch (const BadRequest& bad) {
            EXPECT_EQ(bad.path, path) << text;
            EXPECT_NE(std::string(bad.what()).find(message), std::string::npos) << bad.what();
            EXPECT_EQ(refusal(bad).kind, ApiOutcome::Kind::error);
        }
    }
    Limits limits;
    limits.max_body_bytes = 10;
    EXPECT_THROW(parse_registration(with("tcc", ""), limits), BadRequest);
}

// ---- in the request -----------------------------------------------------------------------------

std::shared_ptr<core::Request> with_branches(TransType type) {
    auto request = std::make_shared<core::Request>();
    request->gid = "g";
    request->type = type;
    Registration r;
    r.type = type;
    r.branch_id = "01";
    r.url = "http://a";
    r.cancel = type == TransType::tcc ? "http://a/cancel" : "";
    r.data = type == TransType::tcc ? "{}" : "";
    add_registered(*request, r);
    r.branch_id = "0101";
    r.data = "2";
    add_registered(*request, r);
    return request;
}

TEST(WireRegistration, BecomesABranchWithItsOwnPayload) {
    const auto tcc = with_branches(TransType::tcc);
    ASSERT_EQ(tcc->branches.size(), 2u);
    EXPECT_EQ(tcc->branches[0].action, "http://a");
    EXPECT_EQ(tcc->branches[0].compensate, "http://a/cancel");
    EXPECT_EQ(tcc->branches[1].branch_id, "0101");
    EXPECT_EQ(tcc->branches[1].step, 1u);
    EXPECT_TRUE(tcc->branches[1].after.empty());
    EXPECT_EQ(tcc->payloads, (std::vector<std::string>{"{}", "2"}));
    const auto xa = with_branches(TransType::xa);
    EXPECT_EQ(xa->branches[0].action, "http://a");
    EXPECT_EQ(xa->branches[0].compensate, "http://a");
}

TEST(WireRegistration, IsNoPartOfTheStoredText) {
    for (const TransType type : {TransType::tcc, TransType::xa}) {
        auto request = with_branches(type);
        request->custom_data = "[";
        const std::string text = encode_request(*request);
        EXPECT_EQ(text, R"({"custom_data":"["})");
        core::Request back = decode_request("g", type, text);
        EXPECT_TRUE(back.branches.empty());
        EXPECT_EQ(back.custom_data, "[");
        EXPECT_EQ(encode_request(back), text);
    }
    core::Request bare;
    bare.type = TransType::tcc;
    EXPECT_EQ(encode_request(bare), "{}");
}

TEST(WireRegistration, ProgressNeedsItsBranches) {
    for (const TransType type : {TransType::tcc, TransType::xa}) {
        const auto request = with_branches(type);
        core::State state;
        state.branches.resize(2);
        state.branches[1].action.attempts = 1;
        const std::string text = encode_progress(state);
        core::State back;
        decode_progress(*request, text, back);
        EXPECT_EQ(back.branches, state.branches);
        request->branches.pop_back();
        EXPECT_THROW(decode_progress(*request, text, back), std::runtime_error);
    }
}

// A row that was due too early is written while more branches may be registered.
TEST(WireRegistration, ProgressMayBeOlderThanTheLatestBranches) {
    for (const TransType type : {TransType::tcc, TransType::xa}) {
        const auto request = with_branches(type);
        core::Request known = *request;
        known.branches.pop_back();
        core::State state = core::initial_state(known, core::Status::prepared, core::Time{});
        state.branches[0].may_have_run = true;
        const core::Decision written =
            core::decide(known, state, core::Loaded{true}, core::Time{}, {});
        EXPECT_EQ(written.write, core::Write::lazy);
        core::State back = core::initial_state(*request, core::Status::submitted, core::Time{});
        decode_progress(*request, encode_progress(written.state), back);
        const std::vector<core::BranchState> all = {written.state.branches[0], {}};
        EXPECT_EQ(back.branches, all);
        EXPECT_EQ(back.durable_may_have_run, (std::vector<bool>{true, false}));
        EXPECT_EQ(core::decide(*request, back, core::Loaded{}, core::Time{}, {}).calls.size(), 1u);
    }
}

// ---- calls --------------------------------------------------------------------------------------

TEST(WireRegistration, CallsOfATcc) {
    const auto tcc = with_branches(TransType::tcc);
    const BranchCall confirm = branch_call(tcc, 0, Op::action, {});
    EXPECT_EQ(confirm.url, "http://a?branch_id=01&gid=g&op=confirm&trans_type=tcc");
    EXPECT_TRUE(confirm.post);
    EXPECT_EQ(confirm.body, "{}");
    const BranchCall cancel = branch_call(tcc, 1, Op::compensate, {});
    EXPECT_EQ(cancel.url, "http://a/cancel?branch_id=0101&gid=g&op=cancel&trans_type=tcc");
    EXPECT_EQ(cancel.body, "2");
    tcc->payloads[0].clear();
    EXPECT_FALSE(branch_call(tcc, 0, Op::action, {}).post);
}

TEST(WireRegistration, CallsOfAnXaAreAlwaysPosts) {
    const auto xa = with_branches(TransType::xa);
    const BranchCall commit = branch_call(xa, 0, Op::action, {});
    EXPECT_EQ(commit.url, "http://a?branch_id=01&gid=g&op=commit&trans_type=xa");
    EXPECT_TRUE(commit.post);
    EXPECT_EQ(commit.body, "");
    const BranchCall rollback = branch_call(xa, 1, Op::compensate, {});
    EXPECT_EQ(rollback.url, "http://a?branch_id=0101&gid=g&op=rollback&trans_type=xa");
    EXPECT_TRUE(rollback.post);
    EXPECT_EQ(rollback.body, "2");
}

}  // namespace
