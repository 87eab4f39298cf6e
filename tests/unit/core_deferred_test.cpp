// Result::deferred: the call did not leave this machine (P8). It is neither an attempt nor an
// error, whatever the transaction does next.
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::concurrent;
using test::Drive;
using test::kStart;
using test::msg;
using test::saga;

TEST(Deferred, IsNoAttemptAndNoError) {
    Drive tx(saga(2));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.deferred("A1", Seconds{7}), "");
    EXPECT_EQ(tx.op("A1").attempts, 0u);
    EXPECT_EQ(tx.op("A1").errors, 0u);
    EXPECT_FALSE(tx.op("A1").in_flight);
    EXPECT_EQ(last_word(tx.op("A1")), "not called: kept back");
    EXPECT_EQ(tx.op("A1").kept_back, (KeptBack{Hold::breaker, "kept back", kStart}));
    EXPECT_EQ(tx.last.write, Write::lazy);
    EXPECT_EQ(tx.wake(), 7);
    EXPECT_EQ(tx.timer(Seconds{6}), "");
    EXPECT_EQ(tx.timer(Seconds{7}), "A1");
    EXPECT_EQ(tx.op("A1").attempts, 1u);
    EXPECT_EQ(tx.ok("A1"), "A2");
}

TEST(Deferred, KeepsTheErrorsThatWere) {
    Drive tx(saga(1));
    tx.load();
    tx.error("A1");
    tx.timer(Seconds{100});
    EXPECT_EQ(tx.op("A1").attempts, 2u);
    tx.deferred("A1", Seconds{101});
    EXPECT_EQ(tx.op("A1").attempts, 1u);
    EXPECT_EQ(tx.op("A1").errors, 1u);
    EXPECT_EQ(tx.wake(), 101) << "not the interval that the errors would give";
}

TEST(Deferred, KeepsTheLastAnswer) {
    Drive tx(saga(1));
    tx.load();
    tx.error("A1");
    EXPECT_FALSE(tx.op("A1").kept_back);
    for (const int at : {100, 200, 300}) {
        tx.timer(Seconds{at});
        tx.deferred("A1", Seconds{at + 1});
        EXPECT_EQ(last_word(tx.op("A1")), "boom; not called: kept back");
        EXPECT_EQ(tx.op("A1").kept_back->since, kStart + Seconds{100}) << "the first time";
    }
    tx.timer(Seconds{400});
    tx.error("A1");
    EXPECT_EQ(last_word(tx.op("A1")), "boom");
    EXPECT_EQ(tx.op("A1").errors, 2u);
    tx.timer(Seconds{10'000});
    tx.deferred("A1", Seconds{10'001});
    EXPECT_EQ(tx.op("A1").kept_back->since, kStart + Seconds{10'000});
    tx.timer(Seconds{10'001});
    tx.ok("A1");
    EXPECT_FALSE(tx.op("A1").kept_back);
}

// Nothing of it is shown as waiting that will not be called any more.
TEST(Deferred, IsOverWhenItsOperationIs) {
    Request request = saga(2);
    request.options.timeout_to_fail = Seconds{8};
    Drive late(concurrent(std::move(request)));
    EXPECT_EQ(late.load(), "A1 A2");
    late.deferred("A1", Seconds{60});
    late.timer(Seconds{8});
    EXPECT_EQ(late.status(), Status::aborting);
    EXPECT_FALSE(late.op("A1").kept_back);
    late.deferred("A2", Seconds{60});
    EXPECT_FALSE(late.op("A2").kept_back);

    Drive skipped(saga(1));
    skipped.load();
    skipped.deferred("A1", Seconds{60});
    ASSERT_TRUE(skip(skipped.request, skipped.state, 0, kStart, "by hand"));
    EXPECT_EQ(last_word(skipped.op("A1")), "by hand");
}

TEST(Deferred, RaisesNoAlert) {
    Drive tx(saga(1));
    tx.load();
    tx.error("A1");
    tx.timer(Seconds{1000});
    tx.error("A1");
    ASSERT_EQ(tx.policy.alert_retry_limit, 3u);
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(tx.timer(Seconds{10'000 + 10 * i}), "A1");
        tx.deferred("A1", Seconds{10'001 + 10 * i});
        EXPECT_TRUE(tx.last.alerts.empty());
    }
    tx.timer(Seconds{20'000});
    tx.error("A1");
    EXPECT_EQ(tx.last.alerts.size(), 1u);
}

TEST(Deferred, UsesNoRetryUp) {
    Request request = saga(1);
    request.options.retry_limit = 2;
    Drive tx(std::move(request));
    EXPECT_EQ(tx.load(), "A1");
    for (int i = 1; i <= 20; ++i) {
        EXPECT_EQ(tx.deferred("A1", Seconds{i}), "");
        EXPECT_EQ(tx.timer(Seconds{i}), "A1");
    }
    EXPECT_EQ(tx.status(), Status::submitted);
    EXPECT_EQ(tx.error("A1"), "A1");
    EXPECT_EQ(tx.error("A1"), "A1");
    EXPECT_EQ(tx.error("A1"), "C1");
}

TEST(Deferred, DoesNotPostponeTheTimeout) {
    Request request = saga(1);
    request.options.timeout_to_fail = Seconds{8};
    Drive tx(std::move(request));
    tx.load();
    EXPECT_EQ(tx.deferred("A1", Seconds{60}), "");
    EXPECT_EQ(tx.wake(), 8);
    EXPECT_EQ(tx.timer(Seconds{8}), "C1") << "nobody knows what an earlier life called";
}

TEST(Deferred, ActionOfASagaThatIsUndoneIsNotCalledAgain) {
    Drive tx(concurrent(saga(2)));
    EXPECT_EQ(tx.load(), "A1 A2");
    EXPECT_EQ(tx.failure("A1"), "C1");
    EXPECT_EQ(tx.deferred("A2", Seconds{5}), "C2");
    EXPECT_FALSE(tx.op("A2").next);
    EXPECT_EQ(tx.ok("C2"), "");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(Deferred, CompensationComesBack) {
    Drive tx(saga(1));
    tx.load();
    EXPECT_EQ(tx.failure("A1"), "C1");
    EXPECT_EQ(tx.deferred("C1", Seconds{3}), "");
    EXPECT_EQ(tx.op("C1").attempts, 0u);
    EXPECT_EQ(tx.wake(), 3);
    EXPECT_EQ(tx.timer(Seconds{3}), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
}

TEST(Deferred, MessagesAndTheirQuestion) {
    Drive tx(msg(2));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.deferred("A1", Seconds{4}), "");
    EXPECT_EQ(tx.timer(Seconds{4}), "A1");

    Request asked = msg(1);
    asked.query_prepared = "http://p/q";
    Drive question(std::move(asked), Status::prepared);
    question.load();
    EXPECT_EQ(question.timer(Seconds{35}), "Q");
    EXPECT_EQ(question.deferred("Q", Seconds{40}), "");
    EXPECT_EQ(question.op("Q").attempts, 0u);
    EXPECT_EQ(question.wake(), 40);
    EXPECT_EQ(question.timer(Seconds{40}), "Q");
    EXPECT_EQ(question.ok("Q"), "A1");
}

TEST(Deferred, ATimeThatIsOverMeansNow) {
    Drive tx(saga(1));
    tx.load();
    tx.now = kStart + Seconds{50};
    EXPECT_EQ(tx.deferred("A1", Seconds{7}), "A1");
    EXPECT_EQ(tx.op("A1").attempts, 1u);
}

// The row of a submit says that every action may have run. A row written because of a deferral must
// say so, too, after a restart, and must not forget the others.
TEST(Deferred, TheRowStillAdmitsWhatMayHaveRun) {
    Drive tx = Drive::recovered(saga(2));
    EXPECT_EQ(tx.load(), "A1");
    tx.deferred("A1", Seconds{1});
    tx.crash(tx.state);
    EXPECT_EQ(tx.timer(Seconds{1}), "A1");
    EXPECT_EQ(tx.failure("A1"), "C2");
    EXPECT_EQ(tx.ok("C2"), "C1");
}

}  // namespace
}  // namespace dtm::core
