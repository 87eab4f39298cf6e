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

void fail(Breaker& breaker, int times, Breaker::Time now = kStart) {
    for (int i = 0; i < times; ++i) breaker.failed(now, kSettings);
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
    fail(breaker, 3);
    const auto later = kStart + 1s;
    EXPECT_EQ(breaker.state(later), State::half_open);
    ASSERT_TRUE(breaker.admits(later));
    breaker.started(later);
    EXPECT_EQ(breaker.state(later), State::half_open);
    EXPECT_FALSE(breaker.admits(later + 1h));
    EXPECT_GT(breaker.retry_after(later), 0s);
    breaker.answered();
    EXPECT_EQ(breaker.state(later), State::closed);
}

TEST(NetBreaker, PauseDoublesUpToTheLongest) {
    Breaker breaker;
    fail(breaker, 3);
    auto now = kStart;
    for (const auto pause : {1s, 2s, 4s, 8s, 8s}) {
        EXPECT_EQ(breaker.retry_after(now), pause);
        now += pause;
        ASSERT_TRUE(breaker.admits(now));
        breaker.started(now);
        EXPECT_EQ(breaker.retry_after(now), std::min<std::chrono::milliseconds>(pause, 5s))
            << "while the probe is under way";
        fail(breaker, 1, now);
        EXPECT_EQ(breaker.state(now), State::open);
    }
    breaker.started(now + 8s);
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
    breaker.started(kStart + 1s);
    breaker.abandoned();
    EXPECT_TRUE(breaker.admits(kStart + 1s));
}

TEST(NetBreaker, SomebodyMayAskForAProbe) {
    Breaker breaker;
    breaker.probe_now(kStart);
    EXPECT_EQ(breaker.state(kStart), State::closed);
    fail(breaker, 3);
    breaker.probe_now(kStart);
    EXPECT_TRUE(breaker.admits(kStart));
    breaker.started(kStart);
    breaker.probe_now(kStart);
    EXPECT_FALSE(breaker.admits(kStart)) << "one at a time";
}

TEST(NetBreaker, ZeroErrorsMeanNone) {
    Breaker breaker;
    for (int i = 0; i < 100; ++i) breaker.failed(kStart, {.errors = 0, .longest = 8s});
    EXPECT_TRUE(breaker.admits(kStart));
}

// The settings are reloaded while the probe is under way: the host must not be lost for ever.
TEST(NetBreaker, SettingsThatChangeDuringAProbe) {
    for (const std::uint32_t errors : {0u, 100u}) {
        Breaker breaker;
        fail(breaker, 3);
        breaker.started(kStart + 1s);
        breaker.failed(kStart + 1s, {.errors = errors, .longest = 8s});
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
            running.push_back(next->host);
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
        queues.take_deferred(replies);
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
    std::vector<HostQueues::Host*> running;
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
    EXPECT_EQ(endpoint("http://dead:80").breaker, Endpoint::Breaker::half_open);
    end(500);
    EXPECT_EQ(endpoint("http://dead:80").breaker, Endpoint::Breaker::closed);
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
    EXPECT_EQ(endpoint("http://angry:80").breaker, Endpoint::Breaker::closed);
    EXPECT_EQ(endpoint("http://angry:80").errors, 0u);
}

TEST_F(NetDeferred, WhatWasGivenUpSaysNothingAboutTheHost) {
    for (std::uint64_t id = 0; id < 50; ++id) {
        add(id, "http://a/");
        ASSERT_EQ(start(), (Ids{id}));
        queues.given_up(running.back());
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
    EXPECT_EQ(all[0].breaker, Endpoint::Breaker::open);
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

TEST_F(NetDeferred, ManyDeadHostsDoNotStayForEver) {
    for (std::uint64_t host = 0; host < 3000; ++host) {
        const std::string url = "http://dead" + std::to_string(host) + "/";
        for (std::uint64_t id = 0; id < 4; ++id) add(id, url);
        ASSERT_EQ(start().size(), 4u);
        for (int i = 0; i < 4; ++i) end(0);
        add(9, url);
        ASSERT_EQ(start(), host < 1024 ? Ids{} : (Ids{9})) << host;
        while (!running.empty()) end(0);
        deferred();
    }
    EXPECT_LE(queues.endpoints(now).size(), 1025u);
}

}  // namespace
