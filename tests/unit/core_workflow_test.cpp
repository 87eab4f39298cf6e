// A workflow's callback: dtm-compat.md 5.8, with a bounded back-off (D34).
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::Drive;
using test::kStart;

Request workflow(const char* callback = "http://client/resume") {
    Request r = test::make_request(TransType::workflow, 0);
    r.query_prepared = callback;
    r.workflow_name = "wf";
    return r;
}

TEST(Workflow, IsFirstCalledBackAfterOneInterval) {
    Drive tx(workflow(), Status::prepared);
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_DOUBLE_EQ(tx.wake(), 10);
    EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), kStart + Seconds{10});
    EXPECT_EQ(tx.timer(Seconds{9}), "");
    EXPECT_EQ(tx.timer(Seconds{10}), "Q");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.wake(), -1);  // in flight
    EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), kStart);

    Request own = workflow();
    own.options.retry_interval = Seconds{3};
    Drive quick(own, Status::prepared);
    EXPECT_EQ(quick.timer(Seconds{2}), "");
    EXPECT_EQ(quick.timer(Seconds{3}), "Q");
}

// The client reports by a command of its own; the answer only says that somebody is there.
TEST(Workflow, NoAnswerDecidesAnything) {
    for (const Result result : {Result::success, Result::failure, Result::ongoing}) {
        Drive tx(workflow(), Status::prepared);
        EXPECT_EQ(tx.timer(Seconds{10}), "Q");
        EXPECT_EQ(tx.answer("Q", result, "said"), "");
        EXPECT_EQ(tx.status(), Status::prepared);
        EXPECT_EQ(tx.op("Q").status, BranchStatus::prepared);
        EXPECT_EQ(tx.op("Q").errors, 0u);
        EXPECT_EQ(tx.op("Q").last_answer, result == Result::success ? "" : "said");
        EXPECT_EQ(tx.last.write, Write::lazy);
        EXPECT_DOUBLE_EQ(tx.wake(), 20);
        EXPECT_EQ(tx.timer(Seconds{19}), "");
        EXPECT_EQ(tx.timer(Seconds{20}), "Q");
        EXPECT_EQ(tx.op("Q").attempts, 2u);
    }
}

TEST(Workflow, BackOffStaysWithinSixIntervals) {
    Drive tx(workflow(), Status::prepared);
    EXPECT_EQ(tx.timer(Seconds{10}), "Q");
    std::size_t alerts = 0;
    for (const double interval : {20., 40., 60., 60., 60.}) {
        const Time before = tx.now;
        EXPECT_EQ(tx.error("Q"), "");
        alerts += tx.last.alerts.size();
        const double wait = std::chrono::duration<double>(*tx.last.wake - before).count();
        EXPECT_GE(wait, interval);
        EXPECT_LE(wait, interval * 1.1);
        EXPECT_EQ(current_interval(tx.request, tx.state, tx.policy).count(), interval);
        tx.now = *tx.last.wake;
        EXPECT_EQ(tx.load(), "Q");
    }
    EXPECT_EQ(alerts, 1u);  // D13
    const Time before = tx.now;
    EXPECT_EQ(tx.ok("Q"), "");
    EXPECT_EQ(*tx.last.wake, before + Seconds{10}) << "somebody is there again";
    EXPECT_EQ(tx.op("Q").errors, 0u);
}

TEST(Workflow, TheServersCapCountsWhereItIsLower) {
    Drive tx(workflow(), Status::prepared);
    tx.policy.max_retry_interval = Seconds{30};
    const Micros wait = backoff(tx.request, 0, Op::query, 20, tx.policy);
    EXPECT_GE(wait, Seconds{30});
    EXPECT_LE(wait, Seconds{33});
}

TEST(Workflow, DeferredIsNoAttempt) {
    Drive tx(workflow(), Status::prepared);
    EXPECT_EQ(tx.timer(Seconds{10}), "Q");
    EXPECT_EQ(tx.deferred("Q", Seconds{13}), "");
    EXPECT_EQ(tx.op("Q").attempts, 0u);
    EXPECT_DOUBLE_EQ(tx.wake(), 13);
    EXPECT_EQ(tx.timer(Seconds{12}), "");
    EXPECT_EQ(tx.timer(Seconds{13}), "Q");
}

TEST(Workflow, WithoutACallbackNobodyIsCalled) {
    Drive tx(workflow(""), Status::prepared);
    for (const Seconds at : {Seconds{0}, Seconds{10}, Seconds{100'000}}) {
        EXPECT_EQ(tx.timer(at), "");
        EXPECT_EQ(tx.last.wake, std::nullopt);
        EXPECT_EQ(tx.last.write, Write::none);
    }
    EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), std::nullopt);
    retry_now(tx.request, tx.state, tx.now);
    EXPECT_EQ(tx.load(), "");
}

TEST(Workflow, HasNoTimeout) {
    Request r = workflow();
    r.options.timeout_to_fail = Seconds{1};  // only shortens the interval (5.10.2)
    Drive tx(r, Status::prepared);
    EXPECT_EQ(tx.timer(Seconds{100'000}), "Q");
    EXPECT_EQ(tx.status(), Status::prepared);
}

TEST(Workflow, ItsEndComesByCommand) {
    for (const Trigger how : {Trigger::finish_succeed, Trigger::finish_failed}) {
        Drive tx(workflow(), Status::prepared);
        tx.timer(Seconds{10});
        tx.state.status = *target(TransType::workflow, tx.status(), how);
        const State before = tx.state;
        EXPECT_EQ(tx.failure("Q"), "");
        EXPECT_EQ(tx.state, before);
    }
    Drive tx(workflow(), Status::prepared);
    EXPECT_TRUE(force_stop(tx.request, tx.state));
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(Workflow, RetryNowDoesNotWaitForTheFirstInterval) {
    Drive tx(workflow(), Status::prepared);
    tx.now = kStart + Seconds{1};
    EXPECT_EQ(tx.load(), "");
    retry_now(tx.request, tx.state, tx.now);
    EXPECT_EQ(tx.load(), "Q");
    EXPECT_EQ(tx.timer(Seconds{2}), "") << "in flight";
    EXPECT_EQ(tx.error("Q"), "");
    EXPECT_GE(tx.wake(), 22);
    retry_now(tx.request, tx.state, tx.now);
    EXPECT_EQ(tx.load(), "Q");
    EXPECT_EQ(tx.op("Q").attempts, 2u);
    EXPECT_FALSE(skip(tx.request, tx.state, 0, tx.now, "by hand")) << "it has no branches";
}

// Only the row counts: what it says is when the next call is due.
TEST(Workflow, ACrashCallsAgain) {
    Drive tx(workflow(), Status::prepared);
    const State fresh = tx.state;
    tx.timer(Seconds{10});
    tx.crash(fresh);
    EXPECT_EQ(tx.load(), "Q");
    tx.ok("Q");
    tx.crash(tx.state);
    EXPECT_EQ(tx.timer(Seconds{19}), "");
    EXPECT_EQ(tx.timer(Seconds{20}), "Q");
}

}  // namespace
}  // namespace dtm::core
