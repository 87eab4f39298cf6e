// What a row says about its branches: of every type, fresh, finished and in between.
#include "wire/progress.hpp"
#include "wire/stored.hpp"
#include "wire_testkit.hpp"

#include <gtest/gtest.h>

namespace {

using namespace dtm;
using namespace dtm::wire;
using namespace dtm::wire::test;
using core::BranchStatus;
using core::Micros;
using core::Time;
using core::TransType;

constexpr Time born{Micros(1767323045000000)};
constexpr Time ended{Micros(1767323046000000)};

Registration registration(TransType type, const std::string& id) {
    Registration r;
    r.gid = "g";
    r.type = type;
    r.branch_id = id;
    r.url = "http://" + id;
    if (type == TransType::tcc) r.cancel = "http://cancel-" + id;
    r.data = "data-" + id;
    return r;
}

// A row whose texts live as long as it.
struct Row {
    std::string type, status, request, progress;
    RowTexts texts;

    Row(std::string trans_type, std::string trans_status, std::string request_text)
        : type(std::move(trans_type)),
          status(std::move(trans_status)),
          request(std::move(request_text)) {
        texts.gid = "g";
        texts.trans_type = type;
        texts.status = status;
        texts.request = request;
        texts.create_time = born;
    }
    Row& with(std::string progress_text) {
        progress = std::move(progress_text);
        texts.progress = progress;
        return *this;
    }
};

// "01 cancel http://… prepared | …"
std::string listed(const Progress& progress) {
    std::string out;
    for (const Operation& o : operations(progress)) {
        if (!out.empty()) out += " | ";
        out += o.name() + " " + std::string(o.url) + " " +
               std::string(core::to_string(o.life->status)) + " " + std::string(o.payload);
    }
    return out;
}

TEST(WireProgress, SagaAndMsg) {
    EXPECT_EQ(
        listed(read_progress(Row("saga", "submitted", encode_request(parse(saga("")))).texts)),
        "01 compensate http://b prepared 1 | 01 action http://a prepared 1 | "
        "02 compensate  prepared 2 | 02 action http://c prepared 2");
    Row asked("msg", "prepared", encode_request(parse(msg(R"("query_prepared":"http://q")"))));
    asked.with(R"({"b":[{}],"q":{"n":1}})");
    EXPECT_EQ(listed(read_progress(asked.texts)),
              "00 msg http://q prepared  | 01 action http://a prepared 1");
}

TEST(WireProgress, TccAndXa) {
    for (const TransType type : {TransType::tcc, TransType::xa}) {
        const bool tcc = type == TransType::tcc;
        Row row(tcc ? "tcc" : "xa", "aborting", "{}");
        EXPECT_EQ(listed(read_progress(row.texts)), "");
        row.texts.registered = {registration(type, "01"), registration(type, "0101")};
        EXPECT_EQ(listed(read_progress(row.texts)),
                  tcc ? "01 cancel http://cancel-01 prepared data-01 | "
                        "01 confirm http://01 prepared data-01 | "
                        "0101 cancel http://cancel-0101 prepared data-0101 | "
                        "0101 confirm http://0101 prepared data-0101"
                      : "01 rollback http://01 prepared data-01 | "
                        "01 commit http://01 prepared data-01 | "
                        "0101 rollback http://0101 prepared data-0101 | "
                        "0101 commit http://0101 prepared data-0101");
        row.with(R"({"b":[{"r":1,"c":{"s":"succeed","n":1}},{"r":1,"c":{"n":3,"e":3}}]})");
        const Progress progress = read_progress(row.texts);
        const auto all = operations(progress);
        ASSERT_EQ(all.size(), 4u);
        EXPECT_EQ(all[0].life->status, BranchStatus::succeed);
        const Operation* found = worst(all, progress.state, 3);
        ASSERT_NE(found, nullptr);
        EXPECT_EQ(found->name(), tcc ? "0101 cancel" : "0101 rollback");
    }
}

TEST(WireProgress, ACleanSuccessOfATcc) {
    Row row("tcc", "succeed", "{}");
    row.texts.registered = {registration(TransType::tcc, "01")};
    row.texts.finish_time = ended;
    const Progress progress = read_progress(row.texts);
    const auto all = operations(progress);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].life->status, BranchStatus::prepared);
    EXPECT_EQ(all[1].life->status, BranchStatus::succeed);
    EXPECT_EQ(all[1].life->finished, ended);
    EXPECT_EQ(all[1].life->attempts, 1u);
}

TEST(WireProgress, Workflow) {
    Row row("workflow", "prepared",
            R"({"query_prepared":"http://q","custom_data":"{\"name\":\"wf\",\"data\":\"YQ==\"}"})");
    EXPECT_EQ(listed(read_progress(row.texts)), "");
    Registration step = registration(TransType::workflow, "01");
    step.url = "";
    step.op = "action";
    step.status = BranchStatus::succeed;
    row.texts.registered = {step};
    step.op = "rollback";
    step.status = BranchStatus::failed;
    row.texts.registered.push_back(step);
    row.with(R"({"b":[],"q":{"n":2,"e":1}})");
    const Progress progress = read_progress(row.texts);
    EXPECT_EQ(progress.unreadable, "");
    EXPECT_TRUE(progress.request.branches.empty());
    EXPECT_EQ(listed(progress),
              "00 wf http://q prepared a | 01 action  succeed data-01 | "
              "01 rollback  failed data-01");
}

TEST(WireProgress, WhatCannotBeReadIsAFact) {
    const std::pair<Row, const char*> table[] = {
        {Row("lra", "submitted", "{}"), "unknown trans_type lra"},
        {Row("saga", "doing", "{}"), "unknown status doing"},
        {Row("saga", "submitted", "{}"), "damaged row: \"steps\" must be a list"},
        {Row("tcc", "submitted", "x"), "damaged row: the text is not valid JSON"},
        {Row("tcc", "submitted", "{}").with(R"({"b":[{}]})"),
         "damaged row: the progress has 1 branches, the request 0"},
        {Row("workflow", "prepared", "{}"), "damaged row: custom_data is missing"},
    };
    for (const auto& [row, why] : table) {
        RowTexts texts = row.texts;  // the row has moved
        texts.trans_type = row.type;
        texts.status = row.status;
        texts.request = row.request;
        if (texts.progress) texts.progress = row.progress;
        const Progress progress = read_progress(texts);
        EXPECT_EQ(progress.unreadable, why);
        EXPECT_TRUE(operations(progress).empty());
        EXPECT_EQ(branches_json(texts, ended, progress), "[]");
    }
}

TEST(WireProgress, BranchesAsQueryListsThem) {
    Row row("tcc", "submitted", "{}");
    row.texts.registered = {registration(TransType::tcc, "01")};
    row.with(R"({"b":[{"r":1,"a":{"s":"succeed","n":1,"f":1767323045500000}}],"q":{"n":1}})");
    EXPECT_EQ(
        branches_json(row.texts, ended, read_progress(row.texts)),
        R"([{"id":1,"create_time":"2026-01-02T03:04:05Z","update_time":"2026-01-02T03:04:06Z","gid":"g",)"
        R"("url":"http://cancel-01","bin_data":"ZGF0YS0wMQ==","branch_id":"01","op":"cancel","status":"prepared"},)"
        R"({"id":2,"create_time":"2026-01-02T03:04:05Z","update_time":"2026-01-02T03:04:05.5Z","gid":"g",)"
        R"("url":"http://01","bin_data":"ZGF0YS0wMQ==","branch_id":"01","op":"confirm","status":"succeed",)"
        R"("finish_time":"2026-01-02T03:04:05.5Z"}])");
}

}  // namespace
