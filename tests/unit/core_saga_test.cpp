// Sagas: the expectation lists of dtm-compat.md 5.5, and what differs on purpose (D8, D21, D23).
// The lists read compensate, action per step, as dtm's own tests do.
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::concurrent;
using test::Drive;
using test::kStart;
using test::saga;

Request with_timeout(Request r, int seconds) {
    r.options.timeout_to_fail = Seconds{seconds};
    return r;
}
Request with_limit(Request r, std::uint32_t limit) {
    r.options.retry_limit = limit;
    return r;
}

TEST(SagaSerial, AllGood) {
    Drive tx(saga(2));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
    EXPECT_EQ(tx.rows(), "prepared, succeed, prepared, succeed");
    EXPECT_EQ(tx.wake(), -1);
}

TEST(SagaSerial, SecondActionFailsAllAreCompensatedInReverse) {
    Drive tx(saga(2));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.failure("A2"), "C2");  // the failed branch too
    EXPECT_EQ(tx.status(), Status::aborting);
    EXPECT_EQ(tx.state.rollback_reason, "url:http://p/a2 return failed: no");
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
    EXPECT_EQ(tx.rows(), "succeed, succeed, succeed, failed");
}

TEST(SagaSerial, StepsNeverStartedAreLeftAlone) {
    Drive tx(saga(3));
    tx.load();
    EXPECT_EQ(tx.failure("A1"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.rows(), "succeed, failed, prepared, prepared, prepared, prepared");
}

TEST(SagaSerial, OngoingThenTimeout) {
    Drive tx(with_timeout(saga(2), 8));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.ongoing("A1"), "");
    EXPECT_EQ(tx.timer(Seconds{8}), "C1");
    EXPECT_EQ(tx.state.rollback_reason, "Timeout after 8 seconds");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.rows(), "succeed, prepared, prepared, prepared");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(SagaSerial, TimeoutIsExactAndOptional) {
    Drive tx(with_timeout(saga(1), 8));
    tx.load();
    tx.now = kStart + Seconds{8} - Micros{1};
    tx.ongoing("A1");
    EXPECT_EQ(tx.status(), Status::submitted);
    EXPECT_DOUBLE_EQ(tx.wake(), 8);

    Drive never(saga(1));
    never.load();
    never.ongoing("A1");
    EXPECT_EQ(never.timer(Seconds{1'000'000}), "A1");
    EXPECT_EQ(never.status(), Status::submitted);
}

TEST(SagaSerial, TimeoutBeforeAnythingRanUndoesNothing) {
    Drive tx(with_timeout(saga(2), 8));
    EXPECT_EQ(tx.timer(Seconds{9}), "");
    EXPECT_EQ(tx.status(), Status::failed);
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.rows(), "prepared, prepared, prepared, prepared");
}

TEST(SagaSerial, TheLastSuccessBeatsTheTimeout) {
    Drive tx(with_timeout(saga(1), 8));
    tx.load();
    tx.now = kStart + Seconds{9};
    tx.ok("A1");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(SagaSerial, TimeoutWaitsForTheActionInFlight) {  // D21
    for (const Result result : {Result::success, Result::failure, Result::ongoing, Result::error}) {
        Drive tx(with_timeout(saga(2), 8));
        tx.load();
        tx.ok("A1");
        EXPECT_EQ(tx.timer(Seconds{8}), "");
        EXPECT_EQ(tx.status(), Status::aborting);
        EXPECT_EQ(tx.last.write, Write::flush);
        EXPECT_EQ(tx.answer("A2", result, "late"), "C2");
        EXPECT_EQ(tx.status(), Status::aborting);  // P4
        EXPECT_EQ(tx.state.rollback_reason, "Timeout after 8 seconds");
        EXPECT_EQ(tx.op("A2").next, std::nullopt);
        tx.ok("C2");
        tx.ok("C1");
        EXPECT_EQ(tx.status(), Status::failed);
    }
}

TEST(SagaSerial, RetryLimitThreeSurvivesThreeFailures) {
    Drive tx(with_limit(saga(2), 3));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.error("A1"), "A1");  // at once
    EXPECT_EQ(tx.ongoing("A1"), "A1");
    EXPECT_EQ(tx.error("A1"), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.error("A2"), "A2");  // counted per branch (D23)
    EXPECT_EQ(tx.error("A2"), "A2");
    EXPECT_EQ(tx.error("A2"), "A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(SagaSerial, RetryLimitOneGivesUpAtTheSecond) {
    Drive tx(with_limit(saga(2), 1));
    tx.load();
    tx.ok("A1");
    EXPECT_EQ(tx.error("A2"), "A2");
    EXPECT_EQ(tx.error("A2"), "C2");
    EXPECT_EQ(tx.state.rollback_reason, "RetryCount is greater than RetryLimit, RetryLimit: 1");
    tx.ok("C2");
    tx.ok("C1");
    EXPECT_EQ(tx.status(), Status::failed);
    EXPECT_EQ(tx.rows(), "succeed, succeed, succeed, prepared");
}

TEST(SagaSerial, CompensationFailureIsATemporaryError) {
    Drive tx(saga(1));
    tx.load();
    EXPECT_EQ(tx.failure("A1"), "C1");
    EXPECT_EQ(tx.failure("C1"), "");
    EXPECT_EQ(tx.status(), Status::aborting);
    EXPECT_EQ(tx.op("C1").errors, 1u);
    EXPECT_GE(tx.wake(), 20);
    EXPECT_EQ(tx.timer(Seconds{30}), "C1");
    EXPECT_EQ(tx.ongoing("C1"), "");
    EXPECT_EQ(tx.timer(Seconds{60}), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(SagaSerial, RetryLimitDoesNotBindCompensations) {
    Drive tx(with_limit(saga(1), 1));
    tx.load();
    tx.failure("A1");
    for (int i = 1; i < 5; ++i) {
        EXPECT_EQ(tx.error("C1"), "");
        tx.now = *tx.last.wake;
        EXPECT_EQ(tx.load(), "C1");
    }
}

TEST(SagaSerial, EmptyUrlsSucceedWithoutACall) {
    Request r = saga(3);
    r.branches[0].action.clear();
    r.branches[1].compensate.clear();
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.ok("A2"), "A3");
    EXPECT_EQ(tx.failure("A3"), "C3");
    EXPECT_EQ(tx.ok("C3"), "C1");  // over the empty C2; A1 counts as done, so C1 is due
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.rows(), "succeed, succeed, succeed, succeed, succeed, failed");

    Request nothing = saga(2);
    for (Branch& b : nothing.branches) b.action.clear();
    Drive at_once(nothing);
    EXPECT_EQ(at_once.load(), "");
    EXPECT_EQ(at_once.status(), Status::succeed);
    EXPECT_EQ(at_once.last.write, Write::flush);
}

TEST(SagaSerial, WithoutBranchesItSucceeds) {
    Drive tx(saga(0));
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(SagaSerial, PreparedIsInert) {
    Drive tx(with_timeout(saga(2), 8), Status::prepared);
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.wake(), -1);
    EXPECT_EQ(tx.timer(Seconds{1000}), "");
    EXPECT_EQ(tx.status(), Status::prepared);
    EXPECT_EQ(tx.last.write, Write::none);
}

TEST(SagaSerial, AFailureFoundInTheStoreHasLostItsMessage) {
    Drive tx(saga(2));
    tx.state.branches[0].may_have_run = true;
    tx.state.branches[0].action.status = BranchStatus::failed;
    EXPECT_EQ(tx.load(), "C1");
    EXPECT_EQ(tx.state.rollback_reason, "fail message lost");
}

TEST(SagaSerial, LateAndForeignAnswersAreIgnored) {
    Drive tx(with_timeout(saga(2), 50));
    tx.load();
    tx.ok("A1");
    const State before = tx.state;
    for (const char* call : {"A1", "C1", "C2", "A9", "C9", "Q"}) {
        EXPECT_EQ(tx.failure(call), "") << call;
        EXPECT_EQ(tx.last.write, Write::none);
        EXPECT_EQ(tx.state, before) << call;
        EXPECT_DOUBLE_EQ(tx.wake(), 50) << call;
    }
    tx.failure("A2");
    tx.ok("C2");
    tx.ok("C1");
    const State end = tx.state;
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.timer(Seconds{99}), "");
    EXPECT_EQ(tx.state, end);
}

TEST(SagaSerial, OrdersCountOnTopOfTheSerialRule) {
    Request r = saga(3);
    r.branches[2].after = {0};
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.ok("A2"), "A3");
    EXPECT_EQ(tx.failure("A3"), "C3");
    EXPECT_EQ(tx.ok("C3"), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
}

TEST(SagaSerial, BookkeepingOfOneOperation) {
    Drive tx(saga(1));
    tx.load();
    tx.error("A1");
    EXPECT_EQ(tx.op("A1").last_answer, "boom");
    EXPECT_EQ(tx.op("A1").finished, std::nullopt);
    EXPECT_FALSE(tx.op("A1").in_flight);
    tx.timer(Seconds{30});
    EXPECT_TRUE(tx.op("A1").in_flight);
    EXPECT_EQ(tx.op("A1").next, std::nullopt);
    tx.ok("A1");
    EXPECT_EQ(tx.op("A1").attempts, 2u);
    EXPECT_EQ(tx.op("A1").finished, kStart + Seconds{30});
}

TEST(SagaConcurrent, WithoutOrdersAllAtOnce) {
    Drive tx(concurrent(saga(3)));
    EXPECT_EQ(tx.load(), "A1 A2 A3");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.ok("A3"), "");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(SagaConcurrent, OrdersForwardAndBackward) {
    // 1 and 2 first, then 3, then 4.
    Request r = concurrent(saga(4));
    r.branches[2].after = {0, 1};
    r.branches[3].after = {2};
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A1 A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.ok("A1"), "A3");
    EXPECT_EQ(tx.ok("A3"), "A4");
    EXPECT_EQ(tx.failure("A4"), "C4");
    EXPECT_EQ(tx.ok("C4"), "C3");
    EXPECT_EQ(tx.ok("C3"), "C2 C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.ok("C2"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(SagaConcurrent, OrdersMayPointAnywhere) {
    Request r = concurrent(saga(3));
    r.branches[0].after = {2};  // 3 before 1
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A2 A3");
    EXPECT_EQ(tx.ok("A3"), "A1");
    EXPECT_EQ(tx.failure("A1"), "C1");  // 2 is in flight, 3 carries 1
    EXPECT_EQ(tx.ok("C1"), "C3");
    EXPECT_EQ(tx.ok("A2"), "C2");
}

TEST(SagaConcurrent, AFailureWaitsOnlyForTheBranchInFlight) {  // D21
    Drive tx(concurrent(saga(3)));
    tx.load();
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.failure("A2"), "C2 C1");  // A3 is in flight
    EXPECT_EQ(tx.ok("C2"), "");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::aborting);  // P6: not failed while one is open
    EXPECT_EQ(tx.ok("A3"), "C3");
    EXPECT_EQ(tx.ok("C3"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(SagaConcurrent, StepsNeverStartedAreNotInTheWay) {
    Request r = concurrent(saga(3));
    r.branches[1].after = {0};
    r.branches[2].after = {1};
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.failure("A2"), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.rows(), "succeed, succeed, succeed, failed, prepared, prepared");
}

TEST(SagaConcurrent, EmptyUrlsReleaseWhatDependsOnThem) {
    Request r = concurrent(saga(3));
    r.branches[0].after = {2};
    r.branches[1].after = {2};
    r.branches[2].action.clear();
    r.branches[0].compensate.clear();
    r.branches[1].compensate.clear();
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A1 A2");
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.failure("A2"), "C3");
    EXPECT_EQ(tx.ok("C3"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(SagaConcurrent, OneBranchWaitsWhileOthersGoOn) {
    Request r = concurrent(saga(3));
    r.branches[2].after = {1};
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A1 A2");
    EXPECT_EQ(tx.error("A1"), "");
    EXPECT_EQ(tx.ok("A2"), "A3");
    EXPECT_GE(tx.wake(), 20);
    EXPECT_EQ(tx.ok("A3"), "");
    EXPECT_EQ(tx.timer(Seconds{30}), "A1");
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

}  // namespace
}  // namespace dtm::core
