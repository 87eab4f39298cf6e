// tcc and xa: dtm-compat.md 5.6, 5.7 and 5.10.1.
#include "core_testkit.hpp"

namespace dtm::core {
namespace {

using test::Drive;
using test::kStart;
using test::make_request;
using test::tcc;
using test::xa;

constexpr TransType kBoth[] = {TransType::tcc, TransType::xa};

TEST(TwoPhase, TccConfirmsFromTheLastToTheFirst) {
    Drive tx(tcc(3));
    EXPECT_EQ(tx.load(), "A3");
    EXPECT_EQ(tx.last.write, Write::none) << "the row says submitted, that is all it takes";
    EXPECT_EQ(tx.ok("A3"), "A2");
    EXPECT_EQ(tx.ok("A2"), "A1");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.rows(), "prepared, succeed, prepared, succeed, prepared, succeed");
}

TEST(TwoPhase, TccCancelsFromTheLastToTheFirst) {
    Drive tx(tcc(2), Status::aborting);
    EXPECT_EQ(tx.load(), "C2");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.ok("C2"), "C1");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.status(), Status::failed);
    EXPECT_EQ(tx.last.write, Write::flush);
    EXPECT_EQ(tx.rows(), "succeed, prepared, succeed, prepared");
}

TEST(TwoPhase, XaGoesInTheOrderOfRegistration) {
    Drive commit(xa(3));
    EXPECT_EQ(commit.load(), "A1");
    EXPECT_EQ(commit.ok("A1"), "A2");
    EXPECT_EQ(commit.ok("A2"), "A3");
    EXPECT_EQ(commit.ok("A3"), "");
    EXPECT_EQ(commit.status(), Status::succeed);

    Drive back(xa(2), Status::aborting);
    EXPECT_EQ(back.load(), "C1");
    EXPECT_EQ(back.ok("C1"), "C2");
    EXPECT_EQ(back.ok("C2"), "");
    EXPECT_EQ(back.status(), Status::failed);
    EXPECT_EQ(back.rows(), "succeed, prepared, succeed, prepared");
}

TEST(TwoPhase, OneAtATimeWhateverTheOptionsSay) {
    for (const TransType type : kBoth) {
        Request r = test::concurrent(make_request(type, 3));
        r.options.retry_limit = 1;
        Drive tx(r);
        const std::string first = tx.load();
        EXPECT_EQ(first.size(), 2u) << first;
        EXPECT_EQ(tx.error(first), "") << "the next one waits for it, and it for its time";
        EXPECT_EQ(tx.status(), Status::submitted);
        tx.now = *tx.last.wake;
        EXPECT_EQ(tx.load(), first);
    }
}

// The decision is about all branches, so P6 is not about what may have run.
TEST(TwoPhase, EveryBranchIsCancelledWhateverIsKnownOfIt) {
    for (const TransType type : kBoth) {
        Drive tx(make_request(type, 2), Status::aborting);
        for (const BranchState& b : tx.state.branches) ASSERT_FALSE(b.may_have_run);
        std::string call = tx.load();
        for (int calls = 0; calls < 2; ++calls) call = tx.ok(call);
        EXPECT_EQ(tx.status(), Status::failed);
        EXPECT_EQ(tx.rows(), "succeed, prepared, succeed, prepared");
    }
}

TEST(TwoPhase, FailureIsATemporaryError) {
    for (const Status status : {Status::submitted, Status::aborting}) {
        const std::string call = status == Status::submitted ? "A1" : "C1";
        Drive tx(tcc(1), status);
        EXPECT_EQ(tx.load(), call);
        EXPECT_EQ(tx.failure(call), "");
        EXPECT_EQ(tx.last.write, Write::lazy);
        EXPECT_EQ(tx.status(), status);
        EXPECT_EQ(tx.op(call).status, BranchStatus::prepared);
        EXPECT_EQ(tx.op(call).errors, 1u);
        EXPECT_GE(tx.wake(), 20);
        EXPECT_LE(tx.wake(), 22);
        EXPECT_EQ(current_interval(tx.request, tx.state, tx.policy).count(), 20);
        EXPECT_EQ(tx.timer(Seconds{22}), call);
        EXPECT_EQ(tx.ongoing(call), "");
        EXPECT_EQ(tx.op(call).errors, 1u);
        EXPECT_EQ(tx.timer(Seconds{60}), call);
        EXPECT_EQ(tx.deferred(call, Seconds{63}), "");
        EXPECT_DOUBLE_EQ(tx.wake(), 63);
        EXPECT_EQ(tx.timer(Seconds{63}), call);
        EXPECT_EQ(tx.ok(call), "");
        EXPECT_TRUE(is_final(tx.status()));
    }
}

TEST(TwoPhase, WithoutBranchesTheEndIsReachedAtOnce) {
    for (const TransType type : kBoth) {
        Drive submitted(make_request(type, 0));
        EXPECT_EQ(submitted.load(), "");
        EXPECT_EQ(submitted.status(), Status::succeed);
        EXPECT_EQ(submitted.last.write, Write::flush);

        Drive aborting(make_request(type, 0), Status::aborting);
        aborting.state.rollback_reason = "no stock";
        EXPECT_EQ(aborting.load(), "");
        EXPECT_EQ(aborting.status(), Status::failed);
        EXPECT_EQ(aborting.state.rollback_reason, "no stock") << "the client's stays";
    }
}

TEST(TwoPhase, EmptyUrlsSucceedWithoutACall) {
    Request r = tcc(3);
    r.branches[0].action.clear();
    r.branches[2].action.clear();
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.ok("A2"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(TwoPhase, PreparedWaitsForItsTimeAndCallsNobody) {
    for (const TransType type : kBoth)
        for (const int branches : {0, 2}) {
            Drive tx(make_request(type, branches), Status::prepared);
            EXPECT_EQ(tx.load(), "");
            EXPECT_EQ(tx.last.write, Write::none);
            EXPECT_DOUBLE_EQ(tx.wake(), 35);
            EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), kStart + Seconds{35});
            EXPECT_EQ(tx.timer(Seconds{34}), "");
            EXPECT_EQ(tx.status(), Status::prepared);
        }
}

// A branch may have been registered since the row was read: it is read again first.
TEST(TwoPhase, TheTimeoutIsWrittenBeforeAnythingIsCalled) {
    for (const TransType type : kBoth)
        for (const int branches : {0, 2}) {
            Drive tx(make_request(type, branches), Status::prepared);
            tx.load();
            EXPECT_EQ(tx.timer(Seconds{35}), "");
            EXPECT_EQ(tx.status(), Status::aborting) << "and not final, without branches either";
            EXPECT_EQ(tx.last.write, Write::flush);
            EXPECT_EQ(tx.last.wake, std::nullopt);
            EXPECT_TRUE(tx.state.outdated);
            EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), kStart) << "at once";
            EXPECT_EQ(tx.timer(Seconds{400}), "") << "nor by any timer";
            EXPECT_EQ(tx.last.write, Write::none);
            EXPECT_EQ(tx.last.wake, std::nullopt);
        }

    // One more has been registered meanwhile.
    Drive tx(tcc(1), Status::prepared);
    tx.timer(Seconds{35});
    Drive again(tcc(2), tx.status());
    again.state.rollback_reason = tx.state.rollback_reason;
    EXPECT_EQ(again.load(), "C2");
    EXPECT_EQ(again.ok("C2"), "C1");
    EXPECT_EQ(again.ok("C1"), "");
    EXPECT_EQ(again.status(), Status::failed);
    EXPECT_EQ(again.state.rollback_reason, "Timeout after 35 seconds");
}

TEST(TwoPhase, LoadedEndsTheWaitForTheRow) {
    Drive tx(tcc(2), Status::prepared);
    tx.timer(Seconds{35});
    EXPECT_EQ(tx.load(), "C2");
    EXPECT_FALSE(tx.state.outdated);
}

TEST(TwoPhase, TheReasonNamesTheTimeInEffect) {  // D8
    const struct {
        int option, policy;
        const char* want;
    } cases[] = {
        {0, 35, "Timeout after 35 seconds"},
        {0, 7, "Timeout after 7 seconds"},
        {60, 35, "Timeout after 60 seconds"},
        {2, 35, "Timeout after 2 seconds"},
    };
    for (const auto& c : cases) {
        Request r = xa(1);
        r.options.timeout_to_fail = Seconds{c.option};
        Drive tx(r, Status::prepared);
        tx.policy.timeout_to_fail = Seconds{c.policy};
        tx.timer(Seconds{60});
        EXPECT_EQ(tx.status(), Status::aborting);
        EXPECT_EQ(tx.state.rollback_reason, c.want);
    }
}

TEST(TwoPhase, TimeEndsNothingThatIsDecided) {
    Drive tx(tcc(1));
    EXPECT_EQ(tx.load(), "A1");
    EXPECT_EQ(tx.error("A1"), "");
    EXPECT_EQ(tx.timer(Seconds{1000}), "A1");
    EXPECT_EQ(tx.status(), Status::submitted);
}

// Whatever the memory of an earlier life was worth, the row's status says which way it goes.
TEST(TwoPhase, ACrashRepeatsCallsOfTheSameKind) {
    Drive tx = Drive::recovered(tcc(2));
    EXPECT_EQ(tx.load(), "A2");
    tx.error("A2");
    const State stored = tx.state;
    EXPECT_EQ(tx.timer(Seconds{30}), "A2");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.ok("A2"), "A1") << "no frontier: the written row admits every branch";
    EXPECT_EQ(tx.last.write, Write::none);
    tx.crash(stored);
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.ok("A2"), "A1");
    EXPECT_EQ(tx.ok("A1"), "");
    EXPECT_EQ(tx.status(), Status::succeed);
}

TEST(TwoPhase, ExactProgressWritesEachStepAndWaitsForNone) {
    Request r = tcc(2);
    r.options.exact_progress = true;
    Drive tx(r);
    EXPECT_EQ(tx.load(), "A2");
    EXPECT_EQ(tx.last.write, Write::none);
    EXPECT_EQ(tx.ok("A2"), "A1");
    EXPECT_EQ(tx.last.write, Write::lazy);
}

TEST(TwoPhase, LateAnswersChangeNothing) {  // P4
    Drive tx(tcc(1));
    tx.load();
    tx.ok("A1");
    const State before = tx.state;
    EXPECT_EQ(tx.failure("A1"), "");
    EXPECT_EQ(tx.ok("C1"), "");
    EXPECT_EQ(tx.state, before);
}

TEST(TwoPhase, ForceStopAndRetryNow) {
    for (const Status status : {Status::prepared, Status::submitted, Status::aborting}) {
        Drive tx(tcc(2), status);
        EXPECT_TRUE(force_stop(tx.request, tx.state));
        EXPECT_EQ(tx.status(), Status::failed);
        EXPECT_EQ(tx.load(), "");
    }
    Drive tx(xa(1), Status::aborting);
    tx.load();
    tx.error("C1");
    EXPECT_EQ(tx.timer(Seconds{1}), "");
    retry_now(tx.request, tx.state, tx.now);
    EXPECT_EQ(tx.load(), "C1");
    EXPECT_EQ(tx.op("C1").attempts, 2u);
    EXPECT_EQ(tx.op("C1").errors, 1u);
}

TEST(TwoPhase, NextDue) {
    const auto due = [](const Drive& tx) { return next_due(tx.request, tx.state, tx.policy); };
    EXPECT_EQ(due(Drive(tcc(1))), kStart);
    EXPECT_EQ(due(Drive(tcc(0))), kStart);
    EXPECT_EQ(due(Drive(tcc(1), Status::aborting)), kStart);
    EXPECT_EQ(due(Drive(tcc(1), Status::failed)), std::nullopt);
    Request r = xa(1);
    r.options.timeout_to_fail = Seconds{3};
    EXPECT_EQ(due(Drive(r, Status::prepared)), kStart + Seconds{3});
    Drive waiting(r, Status::aborting);
    waiting.load();
    EXPECT_EQ(due(waiting), kStart) << "in flight";
    waiting.error("C1");
    EXPECT_EQ(due(waiting), waiting.last.wake);
}

TEST(TwoPhase, SkipConfirmsOrCancelsByHand) {
    const auto skipped = [](Drive& tx, std::uint32_t branch) {
        for (BranchState& b : tx.state.branches)
            b.action.in_flight = b.compensate.in_flight = false;
        const State before = tx.state;
        const bool done = skip(tx.request, tx.state, branch, kStart, "by hand");
        EXPECT_TRUE(done || tx.state == before) << "nothing is changed";
        return done;
    };
    Drive prepared(tcc(1), Status::prepared);
    EXPECT_FALSE(skipped(prepared, 0)) << "nothing is open";

    Drive confirm(tcc(2));
    confirm.load();
    confirm.error("A2");
    ASSERT_TRUE(skipped(confirm, 1));
    EXPECT_EQ(confirm.load(), "A1");
    EXPECT_EQ(confirm.ok("A1"), "");
    EXPECT_EQ(confirm.status(), Status::succeed);
    EXPECT_EQ(confirm.rows(), "prepared, succeed, prepared, succeed");

    Drive cancel(tcc(3), Status::aborting);
    cancel.load();
    ASSERT_TRUE(skipped(cancel, 0)) << "ahead of its turn: the others still come in order";
    EXPECT_EQ(cancel.load(), "C3");
    EXPECT_EQ(cancel.ok("C3"), "C2");
    EXPECT_EQ(cancel.ok("C2"), "");
    EXPECT_EQ(cancel.status(), Status::failed);
    EXPECT_FALSE(skipped(cancel, 1)) << "final";
    EXPECT_FALSE(skipped(confirm, 7)) << "no such branch";
}

TEST(TwoPhase, APreparedSagaStaysInert) {
    Drive tx(test::saga(2), Status::prepared);
    for (const Seconds at : {Seconds{0}, Seconds{100}, Seconds{100'000}}) {
        EXPECT_EQ(tx.timer(at), "");
        EXPECT_EQ(tx.last.write, Write::none);
        EXPECT_EQ(tx.last.wake, std::nullopt);
    }
    EXPECT_EQ(next_due(tx.request, tx.state, tx.policy), std::nullopt);
}

}  // namespace
}  // namespace dtm::core
