// The barrier's judgement: every row of dtm-compat.md 6.6.1, written down once more by hand.
#include "core/barrier.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace dtm::core {
namespace {

using Op = BarrierOp;
constexpr Op all_ops[] = {Op::tcc_try,    Op::confirm, Op::cancel,   Op::action,
                          Op::compensate, Op::commit,  Op::rollback, Op::msg};

TEST(Barrier, OpsWithoutOriginRunOnce) {
    for (const Op op : {Op::tcc_try, Op::confirm, Op::action, Op::commit, Op::msg}) {
        EXPECT_EQ(judge(op, {false, true, {}}), Verdict::run) << to_string(op);
        EXPECT_EQ(judge(op, {false, false, to_string(op)}), Verdict::duplicate) << to_string(op);
        // There is no origin to ask for: the flag says nothing.
        EXPECT_EQ(judge(op, {true, true, {}}), Verdict::run) << to_string(op);
    }
}

TEST(Barrier, WhatWasUndoneFirstHangs) {
    EXPECT_EQ(judge(Op::action, {false, false, "compensate"}), Verdict::hanging);
    EXPECT_EQ(judge(Op::action, {false, false, "rollback"}), Verdict::hanging);
    EXPECT_EQ(judge(Op::tcc_try, {false, false, "cancel"}), Verdict::hanging);
    EXPECT_EQ(judge(Op::msg, {false, false, "rollback"}), Verdict::hanging);
}

TEST(Barrier, UndoingNothingIsEmpty) {
    for (const Op op : {Op::cancel, Op::compensate, Op::rollback}) {
        EXPECT_EQ(judge(op, {true, true, {}}), Verdict::empty) << to_string(op);
        // Go calls nothing then either, whatever became of the own row.
        EXPECT_EQ(judge(op, {true, false, to_string(op)}), Verdict::empty) << to_string(op);
        EXPECT_EQ(judge(op, {false, true, {}}), Verdict::run) << to_string(op);
        EXPECT_EQ(judge(op, {false, false, to_string(op)}), Verdict::duplicate) << to_string(op);
    }
}

TEST(Barrier, OriginsAreThoseOfDtm) {
    const std::map<Op, Op> origins{
        {Op::cancel, Op::tcc_try}, {Op::compensate, Op::action}, {Op::rollback, Op::action}};
    for (const Op op : all_ops) {
        const auto wanted = origins.find(op);
        EXPECT_EQ(origin_of(op),
                  wanted == origins.end() ? std::nullopt : std::optional(wanted->second))
            << to_string(op);
    }
}

TEST(Barrier, EveryTypeHasItsOpsAndNoOther) {
    const std::map<TransType, std::set<Op>> ops{
        {TransType::saga, {Op::action, Op::compensate}},
        {TransType::msg, {Op::action, Op::msg}},
        {TransType::tcc, {Op::tcc_try, Op::confirm, Op::cancel}},
        {TransType::xa, {Op::action, Op::commit, Op::rollback}},
        {TransType::workflow,
         {Op::action, Op::compensate, Op::commit, Op::rollback, Op::tcc_try, Op::confirm,
          Op::cancel}},
    };
    for (const auto& [type, wanted] : ops) {
        for (const Op op : all_ops) {
            EXPECT_EQ(has_op(type, op), wanted.contains(op))
                << to_string(type) << " " << to_string(op);
        }
    }
    EXPECT_EQ(ops_of(TransType::saga), "action and compensate");
    EXPECT_EQ(ops_of(TransType::tcc), "try, confirm and cancel");
}

TEST(Barrier, AnOriginIsAnOpOfTheSameType) {
    // Otherwise its row would hold the place of something that never comes.
    for (int t = 0; t <= static_cast<int>(TransType::workflow); ++t) {
        const auto type = static_cast<TransType>(t);
        for (const Op op : all_ops) {
            if (const auto origin = origin_of(op); origin && has_op(type, op)) {
                EXPECT_TRUE(has_op(type, *origin)) << to_string(type) << " " << to_string(op);
            }
        }
    }
}

TEST(Barrier, SpellingsGoBothWays) {
    for (const Op op : all_ops) EXPECT_EQ(parse_barrier_op(to_string(op)), op);
    EXPECT_EQ(to_string(Op::tcc_try), "try");
    EXPECT_FALSE(parse_barrier_op("Action"));
    EXPECT_FALSE(parse_barrier_op(""));
}

TEST(Barrier, IdsAreNumberedAsDtmNumbersThem) {
    EXPECT_EQ(barrier_id(1), "01");
    EXPECT_EQ(barrier_id(9), "09");
    EXPECT_EQ(barrier_id(10), "10");
    EXPECT_EQ(barrier_id(100), "100");
}

}  // namespace
}  // namespace dtm::core
