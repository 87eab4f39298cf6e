// What must be durable before what (design 7.3): the write of each decision, and the frontier.
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::concurrent;
using test::Drive;
using test::kStart;
using test::saga;

using Bits = std::vector<bool>;

TEST(Durability, TheFastPathWritesOnce) {
    Drive tx(saga(2));
    tx.load();
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_TRUE(tx.state.durable_fresh);
    tx.ok("A1");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_TRUE(tx.state.durable_fresh);
    tx.ok("A2");
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_FALSE(tx.state.durable_fresh);
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, true}));
}

// An empty list of branches would look like one of which every branch has succeeded.
TEST(Durability, AStateThatIsNotOfItsRequestDecidesNothing) {
    const Request request = saga(2);
    State state = initial_state(request, Status::submitted, kStart);
    state.branches.clear();
    EXPECT_THROW((void)decide(request, state, Timer{}, kStart, Policy{}), std::logic_error);
}

TEST(Durability, ARollBackWritesTwice) {
    Drive tx(saga(3));
    tx.load();
    tx.ok("A1");
    EXPECT_EQ(tx.failure("A2"), "C2");
    EXPECT_EQ(tx.last.write, Write::flush);  // before the first compensation
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, true, false}));
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.last.write, Write::none);
    tx.ok("C1");
    EXPECT_EQ(tx.last.write, Write::flush);
}

TEST(Durability, AfterARetryWaitTheFrontierCostsAFlush) {
    Drive tx(saga(3));
    tx.load();
    tx.error("A1");
    EXPECT_EQ(tx.last.write, Write::lazy);
    EXPECT_FALSE(tx.state.durable_fresh);
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, false, false}));
    EXPECT_EQ(tx.timer(Seconds{30}), "A1");
    EXPECT_EQ(tx.last.write, Write::none);  // the row admits A1
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, true, false}));
    EXPECT_EQ(tx.ok("A2"), "A3");
    EXPECT_EQ(tx.last.write, Write::flush);
}

TEST(Durability, ALazyWriteNeverAdmitsLessThanWhatHasLeft) {
    Drive tx(concurrent(saga(2)));
    EXPECT_EQ(tx.load(), "A1 A2");
    tx.error("A1");
    EXPECT_EQ(tx.last.write, Write::lazy);
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, true}));
}

TEST(Durability, NothingInFlightAndNoWriteMeansStored) {
    Drive tx(concurrent(saga(2)));
    tx.load();
    tx.error("A1");
    const State stored = tx.state;
    tx.ok("A2");  // only A1's wait is left
    EXPECT_EQ(tx.last.write, Write::lazy);
    tx.timer(Seconds{1});
    EXPECT_EQ(tx.last.write, Write::none);
    // A crash that loses the lazy write calls A2 again.
    tx.crash(stored);
    EXPECT_EQ(tx.load(), "A2");
}

TEST(Durability, AFreshRowOfAnEarlierLifeIsCompensatedAsAWhole) {
    Drive tx = Drive::recovered(saga(3));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.failure("A1"), "C3");
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, true, true}));
    EXPECT_EQ(tx.ok("C3"), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

// A ok, B ok, crash, the timeout decides: B must be undone although nobody called it in this life.
TEST(Durability, TheScheduleOfTheDesign) {
    Request r = saga(2);
    r.options.timeout_to_fail = Seconds{20};
    Drive before(r);
    EXPECT_EQ(before.load(), "A1");
    EXPECT_EQ(before.ok("A1"), "A2");
    before.ok("A2");  // its write is lost

    Drive after = Drive::recovered(r);
    EXPECT_EQ(after.load(), "A1");
    EXPECT_EQ(after.timer(Seconds{20}), "C2");
    EXPECT_EQ(after.last.write, Write::flush);
    EXPECT_EQ(after.ok("C2"), "");  // A1 is in flight (D21)
    EXPECT_EQ(after.ok("A1"), "C1");
    EXPECT_EQ(after.ok("C1"), "");
    EXPECT_EQ(after.status(), Status::failed);
}

TEST(Durability, TheSameFromAWrittenRow) {
    Request r = saga(2);
    r.options.timeout_to_fail = Seconds{200};
    Drive tx(r);
    tx.load();
    tx.error("A1");
    tx.timer(Seconds{30});
    EXPECT_EQ(tx.ok("A1"), "A2");
    ASSERT_EQ(tx.last.write, Write::flush);
    tx.crash(tx.state);
    tx.now = kStart + Seconds{200};
    EXPECT_EQ(tx.load(), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
}

TEST(Durability, ACrashWhileAbortingRepeatsCompensations) {
    Drive tx(saga(2));
    tx.load();
    tx.ok("A1");
    tx.failure("A2");
    const State stored = tx.state;
    tx.ok("C2");
    tx.crash(stored);
    EXPECT_EQ(tx.load(), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(Durability, ExactProgressFlushesBeforeEachAction) {
    Request r = saga(2);
    r.options.exact_progress = true;
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.state.durable_may_have_run, (Bits{true, false}));
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.failure("A2"), "C2");
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.last.write, Write::lazy);
    tx.ok("C1");
    EXPECT_EQ(tx.last.write, Write::flush);

    Drive wide(concurrent(r));
    EXPECT_EQ(wide.load(), "A1 A2");
    EXPECT_EQ(wide.last.write, Write::flush);
    EXPECT_EQ(wide.ok("A1"), "");
    EXPECT_EQ(wide.last.write, Write::lazy);
}

TEST(Durability, AMessageHasNoFrontier) {
    Drive tx(test::msg(3));
    tx.load();
    tx.error("A1");
    EXPECT_EQ(tx.last.write, Write::lazy);
    tx.timer(Seconds{30});
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.last.write, Write::none);

    Request r = test::msg(2);
    r.options.exact_progress = true;
    Drive exact(r);
    EXPECT_EQ(exact.load(), "A1");
    EXPECT_EQ(exact.last.write, Write::flush);
}

TEST(Durability, RetryLimitKeepsItsCountAcrossACrash) {  // D23
    Request r = saga(1);
    r.options.retry_limit = 2;
    Drive tx(r);
    tx.load();
    EXPECT_EQ(tx.error("A1"), "A1");
    EXPECT_EQ(tx.last.write, Write::lazy);
    tx.crash(tx.state);
    EXPECT_EQ(tx.load(), "A1");  // the third call: the second one's answer is lost
    EXPECT_EQ(tx.error("A1"), "C1");
}

// Its timeout was raised after the row said when it is due.
TEST(Durability, ARowThatIsDueTooEarlyIsWritten) {
    Drive tx(test::msg(1), Status::prepared);
    tx.request.options.timeout_to_fail = Seconds{100};
    tx.load();
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.load_due(), "");
    EXPECT_EQ(tx.last.write, Write::lazy);
    EXPECT_EQ(tx.wake(), 100);
    EXPECT_FALSE(tx.state.durable_fresh);
    EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), kStart + Seconds{100});
}

TEST(Durability, ARowThatIsDueAndCallsIsNotWrittenForThat) {
    Drive tx(saga(2));
    EXPECT_EQ(tx.load_due(), "A1");
    EXPECT_EQ(tx.last.write, Write::none);
}

}  // namespace
}  // namespace dtm::core
