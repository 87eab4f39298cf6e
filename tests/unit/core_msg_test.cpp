// Messages: dtm-compat.md 5.4 and 5.10.2.
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::concurrent;
using test::Drive;
using test::kStart;
using test::msg;

Request with_query(Request r) {
    r.query_prepared = "http://client/query";
    return r;
}

TEST(Msg, SerialDelivery) {
    Drive tx(msg(2));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.rows(), "succeed, succeed");
}

TEST(Msg, SerialStopsAtTheFirstThatIsNotSuccess) {
    Drive tx(msg(2));
    tx.load();
    EXPECT_EQ(tx.ongoing("A1"), "");
    EXPECT_DOUBLE_EQ(tx.wake(), 10);
    EXPECT_EQ(tx.timer(Seconds{10}), "A1");
    EXPECT_EQ(tx.ok("A1"), "A2");
}

TEST(Msg, ConcurrentDelivery) {
    Drive tx(concurrent(msg(3)));
    EXPECT_EQ(tx.load(), "A1 A2 A3");
    EXPECT_EQ(tx.error("A2"), "");
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.ok("A3"), "");
    EXPECT_EQ(tx.timer(Seconds{25}), "A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(Msg, FailureOfASubscriberIsATemporaryError) {
    Drive tx(msg(1));
    tx.load();
    EXPECT_EQ(tx.failure("A1"), "");
    EXPECT_EQ(tx.status(), Status::submitted);
    EXPECT_EQ(tx.rows(), "prepared");
    EXPECT_EQ(tx.op("A1").errors, 1u);
    EXPECT_GE(tx.wake(), 20);
}

TEST(Msg, TimeoutDoesNotEndWhatIsSubmitted) {
    Request r = msg(1);
    r.options.timeout_to_fail = Seconds{3};
    Drive tx(r);
    tx.load();
    tx.error("A1");
    EXPECT_EQ(tx.timer(Seconds{100}), "A1");
    EXPECT_EQ(tx.status(), Status::submitted);
}

TEST(Msg, DelayCountsFromCreation) {
    Request r = msg(1);
    r.options.delay = Seconds{30};
    Drive tx(r);
    EXPECT_EQ(tx.load(), "");
    EXPECT_DOUBLE_EQ(tx.wake(), 30);
    EXPECT_EQ(tx.last.write, Write::none);  // nothing that the row does not say already
    EXPECT_EQ(tx.timer(Seconds{29}), "");
    EXPECT_EQ(tx.timer(Seconds{30}), "A1");
    EXPECT_EQ(tx.last.write, Write::none);
}

TEST(Msg, PreparedWaitsForItsTimeoutThenAsks) {
    Drive tx(with_query(msg(2)), Status::prepared);
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_DOUBLE_EQ(tx.wake(), 35);
    EXPECT_EQ(tx.timer(Seconds{34}), "");
    EXPECT_EQ(tx.timer(Seconds{35}), "Q");
    EXPECT_EQ(tx.wake(), -1);  // in flight
    EXPECT_EQ(tx.ok("Q"), "A1");
    EXPECT_EQ(tx.status(), Status::submitted);
    EXPECT_EQ(tx.last.write, Write::flush);  // the decision precedes the first action
}

TEST(Msg, QueryFailureTakesItBack) {
    Drive tx(with_query(msg(2)), Status::prepared);
    tx.timer(Seconds{35});
    EXPECT_EQ(tx.failure("Q"), "");
    EXPECT_EQ(tx.status(), Status::failed);
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.rows(), "prepared, prepared");
}

TEST(Msg, QueryOngoingStartsAnewErrorsDouble) {
    Drive tx(with_query(msg(1)), Status::prepared);
    EXPECT_EQ(tx.timer(Seconds{40}), "Q");
    EXPECT_EQ(tx.error("Q"), "");
    EXPECT_EQ(tx.last.write, Write::lazy);
    EXPECT_GE(tx.wake(), 60);
    EXPECT_LE(tx.wake(), 62);
    EXPECT_EQ(current_interval(tx.request, tx.state, tx.policy).count(), 20);
    EXPECT_EQ(tx.timer(Seconds{62}), "Q");
    EXPECT_EQ(tx.error("Q"), "");
    EXPECT_GE(tx.wake(), 102);
    EXPECT_EQ(tx.timer(Seconds{110}), "Q");
    EXPECT_EQ(tx.ongoing("Q"), "");
    EXPECT_DOUBLE_EQ(tx.wake(), 120);
    EXPECT_EQ(tx.op("Q").errors, 0u);
    EXPECT_EQ(tx.status(), Status::prepared);
}

TEST(Msg, WithoutAQueryTheTimeoutCommits) {  // D9
    Drive tx(msg(1), Status::prepared);
    EXPECT_EQ(tx.load(), "");
    EXPECT_EQ(tx.timer(Seconds{35}), "A1");
    EXPECT_EQ(tx.status(), Status::submitted);
    EXPECT_EQ(tx.last.write, Write::flush);
}

TEST(Msg, AfterTheQueryTheDelayStillCounts) {
    Request r = with_query(msg(1));
    r.options.delay = Seconds{60};
    Drive tx(r, Status::prepared);
    tx.timer(Seconds{35});
    EXPECT_EQ(tx.ok("Q"), "");
    EXPECT_EQ(tx.status(), Status::submitted);
    EXPECT_DOUBLE_EQ(tx.wake(), 60);
    EXPECT_EQ(tx.timer(Seconds{60}), "A1");
}

TEST(Msg, AQueryAnsweredAfterTheClientsSubmitDecidesNothing) {  // P4
    Drive tx(with_query(msg(1)), Status::prepared);
    tx.timer(Seconds{35});
    tx.state.status = *target(TransType::msg, tx.state.status, Trigger::submit);
    EXPECT_EQ(tx.failure("Q"), "A1");
    EXPECT_EQ(tx.status(), Status::submitted);
}

TEST(Msg, EmptyUrlsSucceedWithoutACall) {
    Request r = msg(3);
    r.branches[0].action.clear();
    r.branches[2].action.clear();
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

}  // namespace
}  // namespace dtm::core
