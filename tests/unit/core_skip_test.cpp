// core::skip, the verb of an operator: the open operation of a branch counts as succeeded.
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::concurrent;
using test::Drive;
using test::kStart;
using test::msg;
using test::saga;

// As dtm_skip does it: upon the state of the row, which the coordinator then loads.
bool skip_in_row(Drive& tx, std::uint32_t branch) {
    for (BranchState& b : tx.state.branches) b.action.in_flight = b.compensate.in_flight = false;
    return skip(tx.request, tx.state, branch, kStart, "by hand");
}

TEST(Skip, ActionOfTheOpenBranch) {
    Drive tx(saga(2));
    tx.load();
    tx.error("A1");
    ASSERT_TRUE(skip_in_row(tx, 0));
    EXPECT_EQ(tx.op("A1").status, BranchStatus::succeed);
    EXPECT_EQ(tx.op("A1").last_answer, "by hand");
    EXPECT_EQ(tx.op("A1").errors, 0u);
    EXPECT_FALSE(tx.op("A1").next);
    EXPECT_EQ(tx.op("A1").finished, kStart);
    EXPECT_FALSE(tx.state.durable_fresh) << "the verb writes the row";
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(Skip, ABranchThatIsNotItsTurnYet) {
    Drive tx(saga(3));
    tx.load();
    tx.error("A1");
    ASSERT_TRUE(skip_in_row(tx, 1));
    EXPECT_EQ(tx.timer(Seconds{100}), "A1");
    EXPECT_EQ(tx.ok("A1"), "A3");
}

TEST(Skip, TheLastOneEndsIt) {
    Drive tx(msg(1));
    tx.load();
    tx.error("A1");
    ASSERT_TRUE(skip_in_row(tx, 0));
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

// A call of it may be under way, and what a person did by hand is undone like what was called (P6).
TEST(Skip, IsUndoneWhenTheSagaIs) {
    Drive tx(saga(2));
    tx.load();
    ASSERT_TRUE(skip_in_row(tx, 0));
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.failure("A2"), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(Skip, CompensationWhileItIsUndone) {
    Drive tx(saga(2));
    tx.load();
    tx.ok("A1");
    EXPECT_EQ(tx.failure("A2"), "C2");
    tx.error("C2");
    ASSERT_TRUE(skip_in_row(tx, 1));
    EXPECT_EQ(tx.op("C2").status, BranchStatus::succeed);
    EXPECT_EQ(tx.op("A2").status, BranchStatus::failed) << "the action is not touched";
    EXPECT_EQ(tx.load(), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(Skip, NothingOpen) {
    Drive tx(saga(3));
    const auto skipped = [&tx](std::uint32_t branch) {
        const State before = tx.state;
        const bool done = skip(tx.request, tx.state, branch, kStart, "by hand");
        EXPECT_TRUE(done || tx.state == before) << "nothing is changed";
        return done;
    };
    tx.load();
    tx.ok("A1");
    EXPECT_FALSE(skipped(0)) << "it has succeeded";
    EXPECT_EQ(tx.failure("A2"), "C2");
    EXPECT_FALSE(skipped(2)) << "never started, nothing to undo";
    EXPECT_FALSE(skipped(3)) << "no such branch";
    EXPECT_TRUE(skipped(0));
    EXPECT_FALSE(skipped(0)) << "once";
    EXPECT_EQ(tx.ok("C2"), "");
    ASSERT_EQ(tx.status(), Status::failed);
    EXPECT_FALSE(skipped(1)) << "final";
}

TEST(Skip, APreparedMessageHasNothingOpen) {
    Request request = msg(1);
    request.query_prepared = "http://p/q";
    Drive tx(std::move(request), Status::prepared);
    tx.load();
    EXPECT_FALSE(skip_in_row(tx, 0));
}

TEST(Skip, ReleasesWhatWaitsForIt) {
    Request request = concurrent(saga(3));
    request.branches[2].after = {0, 1};
    Drive tx(std::move(request));
    EXPECT_EQ(tx.load(), "A1 A2");
    tx.ok("A1");
    tx.error("A2");
    ASSERT_TRUE(skip_in_row(tx, 1));
    EXPECT_EQ(tx.load(), "A3");
}

}  // namespace
}  // namespace dtm::core
