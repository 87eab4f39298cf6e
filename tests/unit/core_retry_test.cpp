// Intervals, back-off, deadlines and alerts: dtm-compat.md 5.10, 5.12, Appendix C.
#include "core_testkit.hpp"

#include <set>

namespace dtm::core {
namespace {

using test::Drive;
using test::kStart;

double seconds(Micros m) { return std::chrono::duration<double>(m).count(); }

TEST(Retry, BaseInterval) {
    const struct {
        int retry_interval, timeout_to_fail, server, want;
    } cases[] = {
        {0, 0, 10, 10},   // the server's
        {3, 0, 10, 3},    // the transaction's own
        {3, 2, 10, 3},    // before its timeout
        {0, 4, 10, 4},    // a shorter timeout
        {0, 10, 10, 10},  // not shorter
        {0, 60, 10, 10},  // longer
        {-5, 0, 10, 10},  // nonsense is not an interval
        {0, 0, 0, 1},     // never zero
    };
    for (const auto& c : cases) {
        Request r = test::saga(1);
        r.options.retry_interval = Seconds{c.retry_interval};
        r.options.timeout_to_fail = Seconds{c.timeout_to_fail};
        Policy policy;
        policy.retry_interval = Seconds{c.server};
        EXPECT_EQ(base_interval(r, policy).count(), c.want)
            << c.retry_interval << " " << c.timeout_to_fail << " " << c.server;
    }
}

TEST(Retry, BackoffDoublesIsCappedAndOnlyEverLater) {
    const Request r = test::saga(1);
    const Policy policy;
    const double want[] = {10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600};
    for (std::uint32_t errors = 0; errors < std::size(want); ++errors) {
        const double got = seconds(backoff(r, 0, Op::action, errors, policy));
        EXPECT_GE(got, want[errors]) << errors;
        EXPECT_LE(got, want[errors] * 1.1) << errors;
    }
    EXPECT_LE(seconds(backoff(r, 0, Op::action, 4'000'000'000u, policy)), 3600 * 1.1);
}

TEST(Retry, JitterIsDeterministicAndSpread) {
    const Policy policy;
    std::set<std::int64_t> seen;
    for (int i = 0; i < 1000; ++i) {
        Request r = test::saga(1);
        r.gid = "gid" + std::to_string(i);
        const Micros wait = backoff(r, 0, Op::action, 1, policy);
        EXPECT_EQ(wait, backoff(r, 0, Op::action, 1, policy));
        seen.insert(wait.count() / 100'000);  // tenths of a second in [20, 22]
    }
    EXPECT_GE(seen.size(), 20u);
    const Request r = test::saga(2);
    EXPECT_NE(backoff(r, 0, Op::action, 1, policy), backoff(r, 1, Op::action, 1, policy));
    EXPECT_NE(backoff(r, 0, Op::action, 1, policy), backoff(r, 0, Op::compensate, 1, policy));
}

TEST(Retry, AbsurdOptionsDoNotOverflow) {
    Request r = test::msg(1);
    r.options.retry_interval = r.options.timeout_to_fail = r.options.delay = Seconds::max();
    const Policy policy;
    const State state = initial_state(r, Status::prepared, kStart);
    EXPECT_GT(backoff(r, 0, Op::action, 50, policy), Micros{0});
    EXPECT_GT(*deadline(r, state, policy), kStart);
    Drive tx(r);
    EXPECT_EQ(tx.load(), "");
    EXPECT_GT(*tx.last.wake, kStart);
}

TEST(Retry, IntervalLargerThanTheCapIsKept) {
    Request r = test::saga(1);
    r.options.retry_interval = Seconds{7200};
    EXPECT_GE(seconds(backoff(r, 0, Op::action, 3, Policy{})), 7200);
    EXPECT_LE(seconds(backoff(r, 0, Op::action, 3, Policy{})), 7200 * 1.1);
}

TEST(Retry, Deadlines) {
    const Policy policy;
    const struct {
        TransType type;
        Status status;
        int option;
        int want;  // -1: none
    } cases[] = {
        {TransType::saga, Status::submitted, 0, -1},    {TransType::saga, Status::submitted, 7, 7},
        {TransType::saga, Status::aborting, 7, -1},     {TransType::saga, Status::prepared, 7, -1},
        {TransType::msg, Status::prepared, 0, 35},      {TransType::msg, Status::prepared, 7, 7},
        {TransType::msg, Status::submitted, 7, -1},     {TransType::msg, Status::failed, 7, -1},
        {TransType::tcc, Status::prepared, 0, 35},      {TransType::tcc, Status::prepared, 7, 7},
        {TransType::tcc, Status::submitted, 7, -1},     {TransType::tcc, Status::aborting, 7, -1},
        {TransType::xa, Status::prepared, 0, 35},       {TransType::xa, Status::prepared, 7, 7},
        {TransType::xa, Status::submitted, 7, -1},      {TransType::xa, Status::aborting, 7, -1},
        {TransType::workflow, Status::prepared, 7, -1},
    };
    for (const auto& c : cases) {
        Request r = test::make_request(c.type, 1);
        r.options.timeout_to_fail = Seconds{c.option};
        const auto got = deadline(r, initial_state(r, c.status, kStart), policy);
        if (c.want < 0)
            EXPECT_EQ(got, std::nullopt) << c.type << " " << c.status;
        else
            EXPECT_EQ(got, kStart + Seconds{c.want}) << c.type << " " << c.status;
    }
}

// Appendix C2: 20, 40, 80 after the first, second, third error; back to the base on success.
TEST(Retry, TemporaryErrorsDouble) {
    Drive tx(test::saga(2));
    EXPECT_EQ(tx.load(), "A1");
    double due = 0;
    for (const double interval : {20., 40., 80., 160.}) {
        EXPECT_EQ(tx.error("A1"), "");
        EXPECT_GE(tx.wake(), due + interval);
        EXPECT_LE(tx.wake(), due + interval * 1.1);
        EXPECT_EQ(current_interval(tx.request, tx.state, tx.policy).count(), interval);
        due = tx.wake();
        const Time wake = *tx.last.wake;
        tx.now = wake - Micros{1};
        EXPECT_EQ(tx.load(), "");
        tx.now = wake;
        EXPECT_EQ(tx.load(), "A1");
    }
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.op("A1").errors, 0u);
    EXPECT_EQ(tx.op("A1").attempts, 5u);
    EXPECT_EQ(current_interval(tx.request, tx.state, tx.policy).count(), 10);
}

// Appendix C3: for ever, at the same interval, without an alert.
TEST(Retry, OngoingKeepsItsInterval) {
    Drive tx(test::saga(1));
    EXPECT_EQ(tx.load(), "A1");
    for (int round = 1; round <= 20; ++round) {
        EXPECT_EQ(tx.ongoing("A1"), "");
        EXPECT_DOUBLE_EQ(tx.wake(), 10. * round);
        EXPECT_TRUE(tx.last.alerts.empty());
        EXPECT_EQ(tx.timer(Seconds{10 * round}), "A1");
    }
    EXPECT_EQ(tx.op("A1").errors, 0u);
    tx.error("A1");
    const double grown = tx.wake() - 200;
    EXPECT_EQ(tx.timer(Seconds{300}), "A1");
    tx.ongoing("A1");
    EXPECT_DOUBLE_EQ(tx.wake(), 300 + grown);  // the interval that the error left
}

TEST(Retry, AlertOncePerOperation) {
    Drive tx(test::saga(1));
    tx.load();
    std::vector<std::uint32_t> alerts;
    for (int i = 0; i < 8; ++i) {
        tx.error("A1");
        for (const Alert& a : tx.last.alerts) {
            alerts.push_back(a.retry_count);
            EXPECT_EQ(a.error, "boom");
            EXPECT_EQ(a.op, Op::action);
        }
        tx.now = *tx.last.wake;
        EXPECT_EQ(tx.load(), "A1");
    }
    EXPECT_EQ(alerts, std::vector<std::uint32_t>{3});

    Drive quiet(test::saga(1));
    quiet.policy.alert_retry_limit = 0;
    quiet.load();
    for (int i = 0; i < 8; ++i) {
        quiet.error("A1");
        EXPECT_TRUE(quiet.last.alerts.empty());
        quiet.now = *quiet.last.wake;
        quiet.load();
    }
}

TEST(Retry, RetryNowMakesDueAndKeepsAttempts) {
    Drive tx(test::saga(1));
    tx.load();
    tx.error("A1");
    EXPECT_EQ(tx.timer(Seconds{1}), "");
    retry_now(tx.request, tx.state, tx.now);
    EXPECT_EQ(tx.timer(Seconds{1}), "A1");
    EXPECT_EQ(tx.op("A1").attempts, 2u);
    EXPECT_EQ(tx.op("A1").errors, 1u);
}

// The row is told, and what is in flight neither made again nor forgotten.
TEST(Retry, HurryCallsWhatWaitsBesideACall) {
    Drive tx(test::concurrent(test::saga(3)));
    EXPECT_EQ(tx.load(), "A1 A2 A3");
    EXPECT_EQ(tx.hurry(), "");
    EXPECT_EQ(tx.last.write, Write::none);
    tx.error("A1");
    tx.ongoing("A2");
    EXPECT_EQ(tx.hurry(), "A1 A2");
    EXPECT_EQ(tx.last.write, Write::lazy);
    EXPECT_EQ(tx.op("A1").errors, 1u);
    EXPECT_EQ(tx.hurry(), "");
    EXPECT_EQ(tx.last.write, Write::none);
    tx.ok("A3");
    tx.ok("A2");
    tx.ok("A1");
    EXPECT_EQ(tx.state.status, Status::succeed);
    EXPECT_EQ(tx.op("A3").attempts, 1u);
}

// Its client is asked when its interval is over.
TEST(Retry, HurryChangesNothingThatWaitsForSomethingElse) {
    Drive prepared(test::msg(1), Status::prepared);
    prepared.load();
    const State before = prepared.state;
    EXPECT_EQ(prepared.hurry(), "");
    EXPECT_EQ(prepared.state, before);
    EXPECT_TRUE(prepared.last.wake);
}

// A sibling in flight makes the row due, and hides nothing of what waits.
TEST(Retry, AnythingWaits) {
    const auto waits = [](const Drive& tx) { return anything_waits(tx.request, tx.state, tx.now); };
    Drive tx(test::concurrent(test::saga(2)));
    EXPECT_EQ(tx.load(), "A1 A2");
    EXPECT_FALSE(waits(tx));
    tx.error("A1");
    EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), kStart);
    EXPECT_TRUE(waits(tx));
    retry_now(tx.request, tx.state, tx.now);
    EXPECT_FALSE(waits(tx));
    EXPECT_EQ(tx.load(), "A1");
    tx.error("A1");
    EXPECT_EQ(tx.failure("A2"), "C2 C1");
    EXPECT_FALSE(waits(tx));  // A1 never will be called again
    tx.error("C1");
    EXPECT_TRUE(waits(tx));
}

TEST(Retry, NextDue) {
    const auto due = [](const Drive& tx) { return next_due(tx.request, tx.state, tx.policy); };
    Drive fresh(test::saga(2));
    EXPECT_EQ(due(fresh), kStart);  // at once
    fresh.load();
    EXPECT_EQ(due(fresh), kStart);  // in flight: at once, if nobody holds it
    fresh.error("A1");
    EXPECT_EQ(due(fresh), fresh.last.wake);
    EXPECT_EQ(due(Drive(test::saga(2), Status::prepared)), std::nullopt);
    EXPECT_EQ(due(Drive(test::saga(2), Status::failed)), std::nullopt);
    EXPECT_EQ(due(Drive(test::msg(2), Status::prepared)), kStart + Seconds{35});

    Request delayed = test::msg(1);
    delayed.options.delay = Seconds{30};
    EXPECT_EQ(due(Drive(delayed)), kStart + Seconds{30});

    Request limited = test::saga(1);
    limited.options.timeout_to_fail = Seconds{15};
    Drive waiting(limited);
    waiting.load();
    waiting.error("A1");  // in 20 s, but the timeout is earlier
    EXPECT_EQ(due(waiting), kStart + Seconds{15});
    EXPECT_EQ(due(waiting), waiting.last.wake);
}

}  // namespace
}  // namespace dtm::core
