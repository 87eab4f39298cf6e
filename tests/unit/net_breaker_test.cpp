// The circuit breaker of a host: its arithmetic, and what the queues do with calls of an open one.
// Time is a value here; nothing waits.
#include "net/breaker.hpp"
#include "net/host_queues.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace dtm::net;
using namespace std::chrono_literals;
using State = Breaker::State;

constexpr Breaker::Time kStart{1000s};
constexpr Breaker::Settings kSettings{.errors = 3, .longest = 8s};

// Calls fail that are no probes.
void fail(Breaker& breaker, int times, Breaker::Time now = kStart) {
    for (int i = 0; i < times; ++i) breaker.failed(now, 0, kSettings);
}

Breaker::Probe probe(Breaker& breaker, Breaker::Time now) {
    EXPECT_TRUE(breaker.admits(now));
    const Breaker::Probe made = breaker.started(now, kSettings);
    EXPECT_NE(made, 0u);
    return made;
}

TEST(NetBreaker, OpensAfterErrorsInARow) {
    Breaker breaker;
    fail(breaker, 2);
    EXPECT_EQ(breaker.state(kStart), State::closed);
    EXPECT_TRUE(breaker.admits(kStart));
    fail(breaker, 1);
    EXPECT_EQ(breaker.state(kStart), State::open);
    EXPECT_FALSE(breaker.admits(kStart + 999ms));
    EXPECT_EQ(breaker.retry_after(kStart), 1s);
    EXPECT_EQ(breaker.errors_in_a_row(), 3u);
}

TEST(NetBreaker, AnAnswerBetweenErrorsKeepsItClosed) {
    Breaker breaker;
    for (int i = 0; i < 10; ++i) {
        fail(breaker, 2);
        breaker.answered();
    }
    EXPECT_EQ(breaker.state(kStart), State::closed);
    EXPECT_EQ(breaker.errors_in_a_row(), 0u);
}

TEST(NetBreaker, HalfOpenAdmitsOneProbe) {
    Breaker breaker;
    EXPECT_EQ(breaker.started(kStart, kSettings), 0u) << "closed: a call like any other";
    fail(breaker, 3);
    const auto later = kStart + 1s;
    EXPECT_EQ(breaker.state(later), State::half_open);
    probe(breaker, later);
    EXPECT_EQ(breaker.state(later), State::half_open);
    EXPECT_FALSE(breaker.admits(later + 4999ms));
    EXPECT_GT(breaker.retry_after(later), 0s);
    breaker.answered();
    EXPECT_EQ(breaker.state(later), State::closed);
}

// Its call may take an hour; the host may be back by then.
TEST(NetBreaker, AProbeWithoutAnAnswerIsFollowedByAnother) {
    Breaker breaker;
    fail(breaker, 3);
    const auto later = kStart + 1s;
    probe(breaker, later);
    EXPECT_EQ(breaker.state(later + 1h), State::half_open);
    probe(breaker, later + 5s);
    EXPECT_FALSE(breaker.admits(later + 9999ms));
    probe(breaker, later + 10s);
    breaker.answered();
    EXPECT_EQ(breaker.state(later + 10s), State::closed);
}

TEST(NetBreaker, ProbesThatHangComeFurtherAndFurtherApart) {
    Breaker breaker;
    fail(breaker, 3);
    auto now = kStart + 1s;
    for (const auto pause : {5s, 5s, 5s, 8s, 8s}) {  // while failing ones would wait 1, 2, 4, 8, 8
        probe(breaker, now);
        EXPECT_FALSE(breaker.admits(now + pause - 1ms));
        now += pause;
    }
}

TEST(NetBreaker, OnlyTheLatestProbeStretchesThePause) {
    Breaker breaker;
    fail(breaker, 3);
    const auto later = kStart + 1s;
    const Breaker::Probe first = probe(breaker, later);
    fail(breaker, 5, later);
    EXPECT_EQ(breaker.state(later), State::half_open) << "calls from before are no probe";
    EXPECT_EQ(breaker.errors_in_a_row(), 8u);
    const Breaker::Probe second = probe(breaker, later + 5s);
    breaker.failed(later + 6s, first, kSettings);
    EXPECT_EQ(breaker.state(later + 6s), State::half_open) << "it was given up";
    breaker.failed(later + 6s, second, kSettings);
    EXPECT_EQ(breaker.state(later + 6s), State::open);
    EXPECT_EQ(breaker.retry_after(later + 6s), 4s) << "two have failed";
    breaker.failed(later + 6s, second, kSettings);
    EXPECT_EQ(breaker.retry_after(later + 6s), 4s);
}

TEST(NetBreaker, AProbeOfAnEarlierOutageIsNotTheLatest) {
    Breaker breaker;
    fail(breaker, 3);
    const Breaker::Probe old = probe(breaker, kStart + 1s);
    breaker.answered();
    fail(breaker, 3, kStart + 2s);
    probe(breaker, kStart + 3s);
    breaker.failed(kStart + 3s, old, kSettings);
    EXPECT_EQ(breaker.state(kStart + 3s), State::half_open);
}

TEST(NetBreaker, PauseDoublesUpToTheLongest) {
    Breaker breaker;
    fail(breaker, 3);
    auto now = kStart;
    for (const auto pause : {1s, 2s, 4s, 8s, 8s}) {
        EXPECT_EQ(breaker.retry_after(now), pause);
        now += pause;
        const Breaker::Probe made = probe(breaker, now);
        EXPECT_EQ(breaker.retry_after(now), std::min<std::chrono::milliseconds>(pause, 5s))
            << "while the probe is under way";
        breaker.failed(now, made, kSettings);
        EXPECT_EQ(breaker.state(now), State::open);
    }
    probe(breaker, now + 8s);
    breaker.answered();
    fail(breaker, 3, now);
    EXPECT_EQ(breaker.retry_after(now), 1s) << "it begins anew";
}

TEST(NetBreaker, ErrorsOfCallsFromBeforeStretchNothing) {
    Breaker breaker;
    fail(breaker, 50);
    EXPECT_EQ(breaker.retry_after(kStart), 1s);
}

TEST(NetBreaker, ACallThatNeverBeganIsNoProbe) {
    Breaker breaker;
    fail(breaker, 3);
    const Breaker::Probe made = probe(breaker, kStart + 1s);
    breaker.abandoned(kStart + 1s, 0);
    EXPECT_FALSE(breaker.admits(kStart + 1s)) << "that was another call";
    breaker.abandoned(kStart + 1s, made);
    EXPECT_TRUE(breaker.admits(kStart + 1s));
}

TEST(NetBreaker, SomebodyMayAskForAProbe) {
    Breaker breaker;
    breaker.probe_now(kStart);
    EXPECT_EQ(breaker.state(kStart), State::closed);
    fail(breaker, 3);
    breaker.probe_now(kStart);
    probe(breaker, kStart);
    breaker.probe_now(kStart);
    EXPECT_FALSE(breaker.admits(kStart)) << "one at a time";
    breaker.probe_now(kStart + 5s);
    EXPECT_TRUE(breaker.admits(kStart + 5s));
}

TEST(NetBreaker, ZeroErrorsMeanNone) {
    Breaker breaker;
    for (int i = 0; i < 100; ++i) breaker.failed(kStart, 0, {.errors = 0, .longest = 8s});
    EXPECT_TRUE(breaker.admits(kStart));
}

// The settings are reloaded while the probe is under way: the host must not be lost for ever.
TEST(NetBreaker, SettingsThatChangeDuringAProbe) {
    for (const std::uint32_t errors : {0u, 100u}) {
        Breaker breaker;
        fail(breaker, 3);
        const Breaker::Probe made = probe(breaker, kStart + 1s);
        breaker.failed(kStart + 1s, made, {.errors = errors, .longest = 8s});
        EXPECT_TRUE(breaker.admits(kStart + 1h)) << errors;
        EXPECT_EQ(breaker.state(kStart + 1s), errors == 0 ? State::closed : State::open) << errors;
    }
}

// ---- the queues ---------------------------------------------------------------------------------

class NetDeferred : public testing::Test {
protected:
    NetDeferred() {
        queues.set_limits(100, 100);
        queues.set_breaker(kSettings);
    }

    void add(std::uint64_t id, std::string url, bool probe = false) {
        Call call;
        call.id = id;
        call.url = std::move(url);
        call.probe = probe;
        queues.add(std::move(call), now);
    }
    // The ids of all calls that may start now.
    std::vector<std::uint64_t> start() {
        std::vector<std::uint64_t> ids;
        while (auto next = queues.take(now)) {
            ids.push_back(next->call.id);
            running.push_back(next->place);
        }
        return ids;
    }
    // The longest-running call ends.
    void end(long status) {
        Reply reply;
        reply.status = status;
        if (status == 0) reply.error = "no answer";
        queues.finished(running.front(), reply, now);
        running.erase(running.begin());
    }
    void open_dead() {
        for (std::uint64_t id = 1; id <= 3; ++id) add(id, "http://dead/");
        ASSERT_EQ(start().size(), 3u);
        for (int i = 0; i < 3; ++i) end(0);
    }
    std::vector<std::uint64_t> deferred() {
        std::vector<Reply> replies;
        queues.take_returned(replies);
        std::vector<std::uint64_t> ids;
        for (const Reply& reply : replies) {
            EXPECT_EQ(reply.status, 0);
            EXPECT_FALSE(reply.error.empty());
            EXPECT_TRUE(reply.deferred && *reply.deferred > 0ms);
            ids.push_back(reply.id);
        }
        return ids;
    }
    Endpoint endpoint(const std::string& key) {
        const auto all = queues.endpoints(now);
        const auto found = std::ranges::find(all, key, &Endpoint::key);
        return found == all.end() ? Endpoint{} : *found;
    }

    using Ids = std::vector<std::uint64_t>;
    Breaker::Time now = kStart;
    HostQueues queues;
    std::vector<HostQueues::Place> running;
};

TEST_F(NetDeferred, CallsOfAnOpenHostComeBackOthersLeave) {
    open_dead();
    add(10, "http://dead/");
    add(11, "http://live/");
    add(12, "http://dead/");
    EXPECT_EQ(start(), (Ids{11}));
    EXPECT_EQ(deferred(), (Ids{10, 12}));
    EXPECT_EQ(deferred(), Ids{}) << "once";
    EXPECT_EQ(queues.waiting(), 0u);
}

TEST_F(NetDeferred, WhatComesBackSaysWhy) {
    const auto outage = [this] {
        add(10, "http://dead/");
        start();
        std::vector<Reply> replies;
        queues.take_returned(replies);
        EXPECT_EQ(replies.size(), 1u);
        EXPECT_TRUE(replies.at(0).outage);
        EXPECT_EQ(replies[0].error, "the circuit breaker of http://dead:80 is open after " +
                                        std::to_string(replies[0].outage->errors_in_a_row) +
                                        " errors in a row, the last: no answer");
        return *replies[0].outage;
    };
    open_dead();
    const Outage first = outage();
    EXPECT_EQ(first.host, "http://dead:80");
    EXPECT_EQ(first.errors_in_a_row, 3u);
    EXPECT_EQ(first.last_error, "no answer");
    now += 1s;
    add(11, "http://dead/");
    ASSERT_EQ(start(), (Ids{11}));
    end(0);
    const Outage still = outage();
    EXPECT_EQ(still.number, first.number);
    EXPECT_EQ(still.errors_in_a_row, 4u);
    now += 2s;
    add(12, "http://dead/");
    ASSERT_EQ(start(), (Ids{12}));
    end(200);
    open_dead();
    EXPECT_NE(outage().number, first.number);
}

TEST_F(NetDeferred, WhatWaitedWhenItOpenedComesBack) {
    queues.set_limits(100, 3);
    for (std::uint64_t id = 1; id <= 10; ++id) add(id, "http://dead/");
    ASSERT_EQ(start().size(), 3u);
    for (int i = 0; i < 3; ++i) end(0);
    EXPECT_EQ(start(), Ids{});
    EXPECT_EQ(deferred(), (Ids{4, 5, 6, 7, 8, 9, 10}));
    EXPECT_EQ(queues.waiting(), 0u);
    EXPECT_EQ(queues.in_flight(), 0u);
}

TEST_F(NetDeferred, OneProbeThenAll) {
    open_dead();
    now += 1s;
    for (std::uint64_t id = 10; id < 13; ++id) add(id, "http://dead/");
    EXPECT_EQ(start(), (Ids{10}));
    EXPECT_EQ(deferred(), (Ids{11, 12}));
    EXPECT_EQ(endpoint("http://dead:80").breaker, State::half_open);
    end(500);
    EXPECT_EQ(endpoint("http://dead:80").breaker, State::closed);
    for (std::uint64_t id = 20; id < 23; ++id) add(id, "http://dead/");
    EXPECT_EQ(start(), (Ids{20, 21, 22}));
}

TEST_F(NetDeferred, ACallThatSomebodyAskedForIsAProbe) {
    open_dead();
    add(10, "http://dead/");
    EXPECT_EQ(start(), Ids{});
    add(11, "http://dead/", true);
    add(12, "http://dead/", true);
    EXPECT_EQ(start(), (Ids{11}));
    EXPECT_EQ(deferred(), (Ids{10, 12}));
}

TEST_F(NetDeferred, AnyStatusIsAnAnswer) {
    for (std::uint64_t id = 0; id < 50; ++id) {
        add(id, "http://angry/");
        ASSERT_EQ(start(), (Ids{id}));
        end(500);
    }
    EXPECT_EQ(endpoint("http://angry:80").breaker, State::closed);
    EXPECT_EQ(endpoint("http://angry:80").errors, 0u);
}

TEST_F(NetDeferred, WhatWasGivenUpSaysNothingAboutTheHost) {
    for (std::uint64_t id = 0; id < 50; ++id) {
        add(id, "http://a/");
        ASSERT_EQ(start(), (Ids{id}));
        queues.given_up(running.back(), now);
        running.clear();
    }
    add(100, "http://a/");
    EXPECT_EQ(start(), (Ids{100}));
}

TEST_F(NetDeferred, HostsAreShownWithTheirTrouble) {
    open_dead();
    add(10, "http://dead/");
    add(11, "http://busy/");
    add(12, "http://quiet/");
    ASSERT_EQ(start(), (Ids{11, 12}));
    std::swap(running[0], running[1]);
    end(200);
    const auto all = queues.endpoints(now);
    ASSERT_EQ(all.size(), 3u);
    EXPECT_EQ(all[0].key, "http://dead:80");
    EXPECT_EQ(all[0].breaker, State::open);
    EXPECT_EQ(all[0].calls, 3u);
    EXPECT_EQ(all[0].errors, 3u);
    EXPECT_EQ(all[0].deferred, 1u);
    EXPECT_EQ(all[0].errors_in_a_row, 3u);
    EXPECT_EQ(all[0].next_probe, 1s);
    EXPECT_EQ(all[0].last_error, "no answer");
    EXPECT_EQ(all[1].key, "http://busy:80");
    EXPECT_EQ(all[1].in_flight, 1u);
    EXPECT_EQ(all[2].key, "http://quiet:80");
    EXPECT_EQ(all[2].calls, 1u);
    EXPECT_EQ(all[2].next_probe, 0ms);
}

// Its calls wait in its turn, kept out by the reserve, when the breaker opens: with them the turn
// must go, or the host is served later with an empty queue.
TEST_F(NetDeferred, AHostThatOpensInItsTurnLosesIt) {
    queues.set_limits(16, 100);
    for (std::uint64_t id = 0; id < 50; ++id) add(id, "http://dead/");
    ASSERT_EQ(start().size(), 14u);
    for (int i = 0; i < 14; ++i) end(0);
    EXPECT_EQ(deferred().size(), 36u);
    now += 1h;
    add(100, "http://live/");
    EXPECT_EQ(start(), (Ids{100}));
    add(101, "http://dead/");
    EXPECT_EQ(start(), (Ids{101}));
}

TEST_F(NetDeferred, AProbeThatHangsKeepsNobodyOutForLong) {
    open_dead();
    now += 1s;
    add(10, "http://dead/");
    ASSERT_EQ(start(), (Ids{10}));
    now += 5s;
    add(11, "http://dead/");
    ASSERT_EQ(start(), (Ids{11}));
    std::swap(running[0], running[1]);
    end(200);
    add(12, "http://dead/");
    EXPECT_EQ(start(), (Ids{12}));
    end(0);  // the first probe, which nobody waited for
    EXPECT_EQ(endpoint("http://dead:80").breaker, State::closed);
}

// All places of the host are taken, by calls from before it opened or by its probe: what waits
// for one must be told all the same, or it waits for the longest of all timeouts.
TEST_F(NetDeferred, WhatFindsNoPlaceAtAnOpenHostComesBack) {
    queues.set_limits(100, 4);
    for (std::uint64_t id = 1; id <= 4; ++id) add(id, "http://dead/");
    ASSERT_EQ(start().size(), 4u);
    for (int i = 0; i < 3; ++i) end(0);
    now += 1s;
    queues.set_limits(100, 1);
    add(10, "http://dead/");
    EXPECT_EQ(start(), Ids{}) << "the fourth is still there";
    EXPECT_EQ(queues.waiting(), 1u) << "it may be the next probe";
    end(200);
    EXPECT_EQ(start(), (Ids{10}));
    for (std::uint64_t id = 20; id <= 22; ++id) {
        end(0);
        add(id, "http://dead/");
        ASSERT_EQ(start(), id < 22 ? (Ids{id}) : Ids{});
    }
    deferred();
    now += 1s;
    add(30, "http://dead/");
    add(31, "http://dead/");
    EXPECT_EQ(start(), (Ids{30}));
    EXPECT_EQ(deferred(), (Ids{31}));
    add(32, "http://dead/");
    EXPECT_EQ(deferred(), (Ids{32}));
    EXPECT_EQ(queues.waiting(), 0u);
}

// ---- hosts that nobody calls --------------------------------------------------------------------

class NetManyHosts : public NetDeferred {
protected:
    static constexpr std::uint64_t most = HostQueues::max_idle_hosts;
    static std::string url(std::uint64_t n) { return "http://host" + std::to_string(n) + "/"; }
    void kill(std::uint64_t n) {
        for (std::uint64_t id = 0; id < 3; ++id) add(id, url(n));
        ASSERT_EQ(start().size(), 3u);
        for (int i = 0; i < 3; ++i) end(0);
    }
    void answer(std::uint64_t n) {
        add(n, url(n));
        ASSERT_EQ(start().size(), 1u);
        end(200);
    }
    bool is_shut(std::uint64_t n) {
        add(1'000'000 + n, url(n));
        const std::size_t started = start().size();
        for (std::size_t i = 0; i < started; ++i) end(0);
        return started == 0 && !deferred().empty();
    }
};

TEST_F(NetManyHosts, AllDeadOnesAreRemembered) {
    for (std::uint64_t n = 0; n < most; ++n) kill(n);
    for (std::uint64_t n = 0; n < most; ++n) ASSERT_TRUE(is_shut(n)) << n;
    EXPECT_EQ(queues.endpoints(now).size(), most);
}

TEST_F(NetManyHosts, ThoseWithoutTroubleAreForgottenFirst) {
    for (std::uint64_t n = 0; n < 10; ++n) kill(n);
    for (std::uint64_t n = 10; n < 3 * most; ++n) answer(n);
    for (std::uint64_t n = 0; n < 10; ++n) EXPECT_TRUE(is_shut(n)) << n;
    EXPECT_EQ(queues.endpoints(now).size(), most);
    EXPECT_EQ(endpoint("http://host10:80").calls, 0u);
    EXPECT_EQ(endpoint("http://host" + std::to_string(3 * most - 1) + ":80").calls, 1u);
}

TEST_F(NetManyHosts, TheLongestIdleOfTheDeadIsForgottenAndBeginsAnew) {
    for (std::uint64_t n = 0; n < most; ++n) kill(n);
    ASSERT_TRUE(is_shut(0)) << "it was asked for, so 1 is the one";
    kill(most);
    EXPECT_EQ(queues.endpoints(now).size(), most);
    EXPECT_TRUE(is_shut(0));
    EXPECT_FALSE(is_shut(1));
}

TEST_F(NetManyHosts, OneThatIsCalledIsNotForgotten) {
    add(1, "http://busy/");
    ASSERT_EQ(start().size(), 1u);
    const HostQueues::Place busy = running.back();
    running.clear();
    for (std::uint64_t n = 0; n < 2 * most; ++n) answer(n);
    running.push_back(busy);
    end(200);
    EXPECT_EQ(endpoint("http://busy:80").calls, 1u);
}

}  // namespace
