// dtm's rows read as ours: every status is kept, what may have run is what dtm would undo, and rows
// that do not make a transaction are refused with a sentence that says why.
#include "core/decide.hpp"
#include "wire/dtm_store.hpp"
#include "wire/stored.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using core::BranchStatus;
using core::Micros;
using core::Seconds;
using core::Status;
using core::Time;

const Time created{Seconds(1577934245)};
const Time now = created + Seconds(1000);
const Time later = now + Seconds(80);

DtmTrans trans(const std::string& type, const std::string& status) {
    DtmTrans t;
    t.gid = "g";
    t.trans_type = type;
    t.status = status;
    t.protocol = "http";
    t.options = R"({"concurrent":false})";
    t.create_time = created;
    t.next_cron_time = created + Seconds(10);
    return t;
}

DtmBranch row(const std::string& id, const std::string& op, char status) {
    DtmBranch b;
    b.branch_id = id;
    b.op = op;
    b.url = "http://s/" + (op == "rollback" || op == "commit" ? "xa" : op);
    b.status = status == 's' ? "succeed" : status == 'f' ? "failed" : "prepared";
    b.data = "{\"id\":\"" + id.substr(0, 2) + "\"}";
    b.create_time = created;
    if (status != 'p') b.finish_time = created + Seconds(2);
    return b;
}

// "pp ps": a branch of two rows, both open; then one whose second row has succeeded.
std::vector<DtmBranch> rows_of(const std::string& back, const std::string& forward,
                               const std::string& marks) {
    std::vector<DtmBranch> rows;
    for (std::size_t i = 0; i < marks.size(); i += 3) {
        const std::string id = "0" + std::to_string(i / 3 + 1);
        rows.push_back(row(id, back, marks[i]));
        rows.push_back(row(id, forward, marks[i + 1]));
    }
    return rows;
}

Takeover saga(const std::string& status, const std::string& marks,
              const std::string& custom_data = "") {
    DtmTrans t = trans("saga", status);
    t.custom_data = custom_data;
    return take_over(t, rows_of("compensate", "action", marks), now, {});
}

std::string ran(const Takeover& t) {
    std::string out;
    for (const auto& b : t.state.branches) out += b.may_have_run ? '!' : '-';
    return out;
}

std::string refusal(const DtmTrans& t, const std::vector<DtmBranch>& rows) {
    try {
        (void)take_over(t, rows, now, {});
    } catch (const BadRequest& bad) {
        return bad.what();
    }
    return "taken";
}

std::vector<DtmBranch> one_step() { return rows_of("compensate", "action", "pp"); }

TEST(DtmStore, SagaKeepsEveryStatusOfItsRows) {
    const Takeover t = saga("aborting", "ss pf pp");
    EXPECT_EQ(t.request.gid, "g");
    EXPECT_EQ(t.request.type, core::TransType::saga);
    EXPECT_EQ(t.state.status, Status::aborting);
    EXPECT_EQ(t.state.create_time, created);
    ASSERT_EQ(t.request.branches.size(), 3u);
    EXPECT_EQ(t.request.branches[1].branch_id, "02");
    EXPECT_EQ(t.request.branches[1].action, "http://s/action");
    EXPECT_EQ(t.request.branches[1].compensate, "http://s/compensate");
    EXPECT_EQ(t.request.payloads[1], R"({"id":"02"})");
    const auto& b = t.state.branches;
    EXPECT_EQ(b[0].action.status, BranchStatus::succeed);
    EXPECT_EQ(b[0].compensate.status, BranchStatus::succeed);
    EXPECT_EQ(b[0].compensate.finished, created + Seconds(2));
    EXPECT_EQ(b[1].action.status, BranchStatus::failed);
    EXPECT_EQ(b[1].compensate.status, BranchStatus::prepared);
    EXPECT_EQ(b[2].action.status, BranchStatus::prepared);
    EXPECT_EQ(b[1].action.attempts, 0u);
}

TEST(DtmStore, TheTextsSayWhatTheStateSays) {
    const Takeover t = saga("submitted", "ps pp pp", R"({"orders":{"2":[0]}})");
    const core::Request request = decode_request("g", core::TransType::saga, t.text);
    EXPECT_EQ(request.branches[2].after, std::vector<std::uint32_t>{0});
    core::State state;
    ASSERT_TRUE(t.progress);
    decode_progress(request, *t.progress, state);
    EXPECT_EQ(state.branches, t.state.branches);
    EXPECT_TRUE(t.registered.empty());
}

// dtm-compat.md 5.5.3: all that is not prepared, and what could have been started.
TEST(DtmStore, WhatMayHaveRunIsWhatDtmWouldUndo) {
    EXPECT_EQ(ran(saga("prepared", "pp pp")), "--");
    EXPECT_EQ(ran(saga("submitted", "pp pp pp")), "!--");
    EXPECT_EQ(ran(saga("submitted", "ps pp pp")), "!!-");
    EXPECT_EQ(ran(saga("submitted", "ps pf pp")), "!!-");
    EXPECT_EQ(ran(saga("aborting", "ps pf pp")), "!!-");
    EXPECT_EQ(ran(saga("aborting", "ps ps pp")), "!!!");
    // A later step succeeded although the one before it did not: both have run.
    EXPECT_EQ(ran(saga("aborting", "pp ps pp")), "!!!");
    const std::string concurrent = R"({"concurrent":true,"orders":{"2":[0,1],"3":[2]}})";
    EXPECT_EQ(ran(saga("submitted", "pp pp pp pp", concurrent)), "!!--");
    EXPECT_EQ(ran(saga("aborting", "ps pf pp pp", concurrent)), "!!--");
    EXPECT_EQ(ran(saga("submitted", "ps ps pp pp", concurrent)), "!!!-");
    // Orders hold in serial mode, too.
    EXPECT_EQ(ran(saga("submitted", "ps pp pp", R"({"orders":{"1":[0]}})")), "!!-");
}

TEST(DtmStore, GoesOnWithExactlyWhatIsOpen) {
    const auto calls = [](const Takeover& t) {
        return core::decide(t.request, t.state, core::Loaded{}, now, {}).calls;
    };
    using core::Call;
    using core::Op;
    EXPECT_EQ(calls(saga("submitted", "ps pp pp")), (std::vector<Call>{{1, Op::action}}));
    EXPECT_EQ(calls(saga("submitted", "ps pf pp")), (std::vector<Call>{{1, Op::compensate}}));
    EXPECT_EQ(calls(saga("aborting", "ps sf pp")), (std::vector<Call>{{0, Op::compensate}}));
    EXPECT_TRUE(calls(saga("prepared", "pp pp")).empty());
    const auto both =
        take_over(trans("tcc", "submitted"), rows_of("cancel", "confirm", "pp pp ps"), now, {});
    EXPECT_EQ(calls(both), (std::vector<Call>{{1, Op::action}}));
    const auto xa =
        take_over(trans("xa", "aborting"), rows_of("rollback", "commit", "sp pp"), now, {});
    EXPECT_EQ(calls(xa), (std::vector<Call>{{1, Op::compensate}}));
}

TEST(DtmStore, WhatWaitsGoesOnWaiting) {
    DtmTrans t = trans("saga", "submitted");
    t.next_cron_time = later;
    const Takeover forward = take_over(t, rows_of("compensate", "action", "ps pp pp"), now, {});
    EXPECT_FALSE(forward.state.branches[0].action.next);
    EXPECT_EQ(forward.state.branches[1].action.next, later);
    EXPECT_FALSE(forward.state.branches[1].compensate.next);
    EXPECT_FALSE(forward.state.branches[2].action.next) << "it was never called";
    EXPECT_EQ(core::next_due(forward.request, forward.state, {}), later);

    t.status = "aborting";
    const Takeover back = take_over(t, rows_of("compensate", "action", "ps sf pp"), now, {});
    EXPECT_EQ(back.state.branches[0].compensate.next, later);
    EXPECT_FALSE(back.state.branches[1].compensate.next);
    EXPECT_FALSE(back.state.branches[2].compensate.next);

    t = trans("msg", "prepared");
    t.query_prepared = "http://s/query";
    t.next_cron_time = later;
    const Takeover asks = take_over(t, std::vector{row("01", "action", 'p')}, now, {});
    EXPECT_EQ(asks.state.query.next, later);
    EXPECT_FALSE(asks.state.branches[0].action.next);

    // Its client may still be at work: the next visit of dtm would have asked nobody.
    t.options = R"({"timeout_to_fail":2000})";
    const Takeover young = take_over(t, std::vector{row("01", "action", 'p')}, now, {});
    EXPECT_FALSE(young.state.query.next);
    EXPECT_EQ(core::next_due(young.request, young.state, {}), created + Seconds(2000));

    t = trans("tcc", "aborting");
    t.next_cron_time = later;
    const Takeover cancels = take_over(t, rows_of("cancel", "confirm", "pp"), now, {});
    EXPECT_EQ(cancels.state.branches[0].compensate.next, later);
    EXPECT_FALSE(cancels.state.branches[0].action.next);
    EXPECT_FALSE(cancels.state.branches[0].may_have_run);
}

TEST(DtmStore, TheRestIsDueNow) {
    DtmTrans t = trans("saga", "submitted");
    for (const auto& time : {std::optional<Time>(), std::optional(created), std::optional(now)}) {
        t.next_cron_time = time;
        EXPECT_FALSE(take_over(t, one_step(), now, {}).state.branches[0].action.next);
    }
}

TEST(DtmStore, OptionsAreThoseOfTheSubmit) {
    DtmTrans t = trans("saga", "submitted");
    t.options =
        R"( {"wait_result":true,"timeout_to_fail":60,"request_timeout":5,"concurrent":true,)"
        R"("retry_interval":20,"retry_limit":3,"branch_headers":{"X-A":"1"},"gid":"x",)"
        R"("steps":[],"Protocol":"grpc","later":[1]} )";
    t.ext_data = R"({"headers":{"x-a":"old","X-Old":"2"}})";
    const core::Request r = take_over(t, one_step(), now, {}).request;
    EXPECT_EQ(r.gid, "g");
    EXPECT_EQ(r.protocol, "http");
    EXPECT_TRUE(r.options.wait_result);
    EXPECT_FALSE(r.options.concurrent) << "of a saga custom_data says it";
    EXPECT_EQ(r.options.timeout_to_fail, Seconds(60));
    EXPECT_EQ(r.options.request_timeout, Seconds(5));
    EXPECT_EQ(r.options.retry_interval, Seconds(20));
    EXPECT_EQ(r.options.retry_limit, 3u);
    EXPECT_EQ(r.options.branch_headers,
              (std::map<std::string, std::string>{{"X-A", "1"}, {"X-Old", "2"}}));
    for (const char* none : {"", "null", "{}", " { } "}) {
        t.options = t.ext_data = none;
        EXPECT_EQ(take_over(t, one_step(), now, {}).request.options.retry_limit, 0u) << none;
    }
}

TEST(DtmStore, MessageWithTopics) {
    DtmTrans t = trans("msg", "submitted");
    t.options = R"({"concurrent":true})";
    t.custom_data = R"({"Delay":10})";
    const std::vector<DtmBranch> rows{row("01", "action", 's'), row("02-01", "action", 'p'),
                                      row("02-02", "action", 's'), row("03-01", "action", 'p'),
                                      row("04", "action", 'p')};
    const Takeover taken = take_over(t, rows, now, {});
    EXPECT_EQ(taken.request.payloads,
              (std::vector<std::string>{R"({"id":"01"})", R"({"id":"02"})", R"({"id":"03"})",
                                        R"({"id":"04"})"}));
    std::string steps;
    for (const auto& b : taken.request.branches) {
        steps += b.branch_id + "=" + std::to_string(b.step) + " ";
    }
    EXPECT_EQ(steps, "01=0 02-01=1 02-02=1 03-01=2 04=3 ");
    EXPECT_TRUE(taken.request.options.concurrent);
    EXPECT_EQ(taken.request.options.delay, Seconds(10));
    EXPECT_EQ(ran(taken), "!!!!!");
    EXPECT_EQ(decode_request("g", core::TransType::msg, taken.text).branches[2].branch_id, "02-02");
}

TEST(DtmStore, RegisteredBranchesKeepTheirOrder) {
    auto rows = rows_of("cancel", "confirm", "pp pp");
    rows[2].branch_id = rows[3].branch_id = "0101";
    rows[2].data = rows[3].data = std::string("\xff\x00", 2);  // no text: these are bytes here
    const Takeover t = take_over(trans("tcc", "submitted"), rows, now, {});
    ASSERT_EQ(t.registered.size(), 2u);
    const Registration& second = t.registered[1].registration;
    EXPECT_EQ(second.gid, "g");
    EXPECT_EQ(second.type, core::TransType::tcc);
    EXPECT_EQ(second.branch_id, "0101");
    EXPECT_EQ(second.url, "http://s/confirm");
    EXPECT_EQ(second.cancel, "http://s/cancel");
    EXPECT_EQ(second.op, "");
    EXPECT_EQ(second.data, std::string("\xff\x00", 2));
    EXPECT_EQ(t.registered[0].create_time, created);
    EXPECT_EQ(t.registered[1].create_time, created + Micros(1));
    EXPECT_EQ(t.request.branches.size(), 2u);
    EXPECT_EQ(t.state.branches.size(), 2u);
    EXPECT_EQ(ran(t), "-!") << "the last one is called first";
}

TEST(DtmStore, WhoRegistersHereComesAfterThem) {
    auto rows = rows_of("cancel", "confirm", "pp pp pp");
    for (DtmBranch& r : rows) r.create_time = now + Seconds(5);
    rows[4].create_time = rows[5].create_time = created;  // its clock was set back
    const Takeover t = take_over(trans("tcc", "prepared"), rows, now, {});
    EXPECT_EQ(t.registered[0].create_time, now - Micros(3));
    EXPECT_EQ(t.registered[1].create_time, now - Micros(2));
    EXPECT_EQ(t.registered[2].create_time, now - Micros(1));
}

TEST(DtmStore, XaHasOneUrl) {
    auto rows = rows_of("rollback", "commit", "ps pp");
    const Takeover t = take_over(trans("xa", "submitted"), rows, now, {});
    EXPECT_EQ(t.registered[0].registration.url, "http://s/xa");
    EXPECT_EQ(t.registered[0].registration.cancel, "");
    EXPECT_EQ(t.state.branches[0].action.status, BranchStatus::succeed);
    EXPECT_EQ(ran(t), "!!");
    rows[1].url = "http://s/other";
    EXPECT_EQ(refusal(trans("xa", "submitted"), rows), "branch \"01\" has two different URLs");
}

TEST(DtmStore, APreparedOneTakesMoreBranches) {
    const Takeover t =
        take_over(trans("tcc", "prepared"), rows_of("cancel", "confirm", "pp"), now, {});
    EXPECT_FALSE(t.progress) << "it would say how many branches there are";
    EXPECT_EQ(t.registered.size(), 1u);
    EXPECT_FALSE(take_over(trans("xa", "prepared"), {}, now, {}).progress);
    EXPECT_TRUE(take_over(trans("xa", "submitted"), {}, now, {}).progress);
}

TEST(DtmStore, Workflow) {
    DtmTrans t = trans("workflow", "prepared");
    t.query_prepared = "http://s/workflow";
    t.custom_data = R"({"name":"order","data":"AAE="})";
    std::vector<DtmBranch> rows{row("01", "action", 's'), row("01", "commit", 's'),
                                row("02", "action", 'f')};
    for (DtmBranch& r : rows) r.url = "";
    const Takeover first = take_over(t, rows, now, {});
    EXPECT_EQ(first.request.workflow_name, "order");
    EXPECT_EQ(first.request.workflow_data, std::string("\0\1", 2));
    EXPECT_TRUE(first.request.branches.empty());
    ASSERT_EQ(first.registered.size(), 3u);
    EXPECT_EQ(first.registered[1].registration.op, "commit");
    EXPECT_EQ(first.registered[2].registration.status, BranchStatus::failed);
    EXPECT_FALSE(first.progress);
    t.next_cron_time = later;
    const Takeover waits = take_over(t, rows, now, {});
    ASSERT_TRUE(waits.progress);
    EXPECT_EQ(waits.state.query.next, later);
    rows[1].op = "action";
    EXPECT_EQ(refusal(t, rows), "branch \"01\", action: there are two such rows");
    rows[0].status = "prepared";
    EXPECT_EQ(refusal(t, rows),
              "branch \"01\", action: the status is prepared, which dtm does not write there");
}

TEST(DtmStore, RefusesWhatIsNoTransactionOfDtm) {
    const auto changed = [](auto change) {
        DtmTrans t = trans("saga", "submitted");
        change(t);
        return refusal(t, one_step());
    };
    EXPECT_EQ(changed([](DtmTrans&) {}), "taken");
    EXPECT_EQ(changed([](DtmTrans& t) { t.trans_type = "tx"; }), "the type \"tx\" is unknown");
    EXPECT_EQ(changed([](DtmTrans& t) { t.status = "odd"; }),
              "a transaction of type saga that is unfinished does not have the status \"odd\"");
    EXPECT_EQ(changed([](DtmTrans& t) { t.create_time.reset(); }), "it has no create_time");
    EXPECT_EQ(changed([](DtmTrans& t) { t.gid = ""; }), "no gid specified");
    EXPECT_EQ(changed([](DtmTrans& t) { t.gid = "a'b"; }), "the gid has a quote at byte 2");
    EXPECT_EQ(changed([](DtmTrans& t) { t.options = "{"; }),
              "options: the JSON text ends too early (byte 2)");
    EXPECT_EQ(changed([](DtmTrans& t) { t.options = "[1]"; }), "options is not a JSON object");
    EXPECT_EQ(changed([](DtmTrans& t) { t.options = R"({"retry_limit":-1})"; }),
              "retry_limit must not be negative");
    EXPECT_EQ(changed([](DtmTrans& t) { t.custom_data = "x"; }),
              "custom_data: the text is not valid JSON (byte 1)");
    EXPECT_EQ(changed([](DtmTrans& t) { t.ext_data = R"({"headers":1})"; }),
              "the headers in ext_data are not a JSON object");
    EXPECT_EQ(changed([](DtmTrans& t) { t.ext_data = R"({"headers":{"Host":"x"}})"; }),
              "the header \"Host\" cannot be set");
    DtmTrans msg = trans("msg", "aborting");
    EXPECT_EQ(refusal(msg, {row("01", "action", 'p')}),
              "a transaction of type msg that is unfinished does not have the status \"aborting\"");
    msg = trans("msg", "prepared");
    msg.query_prepared = "s:1/p.S/M";
    EXPECT_EQ(refusal(msg, {row("01", "action", 'p')}),
              "query_prepared: the URL \"s:1/p.S/M\" does not begin with http:// or https://");
}

TEST(DtmStore, RefusesBranchesThatMakeNoWhole) {
    const DtmTrans t = trans("saga", "submitted");
    EXPECT_EQ(refusal(t, {}), "it has no branches");
    auto rows = rows_of("compensate", "action", "pp pp");
    rows.pop_back();
    EXPECT_EQ(refusal(t, rows), "branch \"02\" has no row for action");
    rows = rows_of("compensate", "action", "pp pp");
    rows.erase(rows.begin(), rows.begin() + 2);
    EXPECT_EQ(
        refusal(t, rows),
        "branch \"02\" is not the one that must come here: rows are missing or are not dtm's");
    rows = one_step();
    rows.push_back(rows.back());
    EXPECT_EQ(refusal(t, rows), "branch \"01\", action: there are two such rows");
    rows = one_step();
    rows[1].op = "confirm";
    EXPECT_EQ(refusal(t, rows),
              "branch \"01\", confirm: there is no such operation in a "
              "transaction of this type");
    rows = one_step();
    rows[1].data = "other";
    EXPECT_EQ(refusal(t, rows), "branch \"01\" has different payloads for its two directions");
    rows = one_step();
    rows[0].status = "failed";
    EXPECT_EQ(refusal(t, rows),
              "branch \"01\", compensate: the status is failed, which dtm does not write there");
    rows[0].status = "done";
    EXPECT_EQ(refusal(t, rows), "branch \"01\", compensate: the status \"done\" is unknown");

    const DtmTrans msg = trans("msg", "submitted");
    EXPECT_EQ(
        refusal(msg, {row("01", "action", 'p'), row("03", "action", 'p')}),
        "branch \"03\" is not the one that must come here: rows are missing or are not dtm's");
    EXPECT_EQ(
        refusal(msg, {row("01-02", "action", 'p')}),
        "branch \"01-02\" is not the one that must come here: rows are missing or are not dtm's");
    EXPECT_EQ(refusal(msg, {row("01", "msg", 'p')}),
              "branch \"01\", msg: a message has actions only");
    auto topic = std::vector{row("01-01", "action", 'p'), row("01-02", "action", 'p')};
    topic[1].data = "other";
    EXPECT_EQ(refusal(msg, topic),
              "branch \"01-02\", action: the subscribers of one topic have "
              "different payloads");
}

TEST(DtmStore, RefusesWhatCannotBeCalled) {
    DtmTrans t = trans("saga", "submitted");
    auto rows = one_step();
    rows[1].url = "stock:8080/p.S/M";
    EXPECT_EQ(refusal(t, rows),
              "branch \"01\", action: the URL \"stock:8080/p.S/M\" does not "
              "begin with http:// or https://");
    rows = one_step();
    for (DtmBranch& r : rows) r.data = "ok\xff";
    EXPECT_EQ(refusal(t, rows), "branch \"01\", action: the payload is not text in UTF-8 (byte 3)");
    for (DtmBranch& r : rows) r.data = std::string("\0", 1);
    EXPECT_EQ(refusal(t, rows), "branch \"01\", action: the payload is not text in UTF-8 (byte 1)");
    for (DtmBranch& r : rows) r.data = std::string(2u << 20, 'x');
    EXPECT_NE(refusal(t, rows).find("bytes long, the limit is 1048576"), std::string::npos);

    t.protocol = "grpc";
    EXPECT_EQ(refusal(t, one_step()), "protocol \"grpc\" is not supported by this version");
    t.protocol = "json-rpc";
    EXPECT_EQ(refusal(t, one_step()), "taken");
    rows = one_step();
    for (DtmBranch& r : rows) r.data = "[]";
    EXPECT_EQ(refusal(t, rows), "taken") << "no method in the URL: a plain call";
    for (DtmBranch& r : rows) r.url = "http://s/rpc?method=m";
    EXPECT_EQ(refusal(t, rows),
              "branch \"01\", compensate: payload must be the JSON text of an "
              "object, not a list");
}

}  // namespace
