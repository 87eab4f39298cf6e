// The limits of the network client, in all and per host, and that a dead host starves nobody (P8).
#include "net_testkit.hpp"

#include <sys/resource.h>

#include <map>
#include <thread>

namespace {

using namespace dtm::net;
using namespace dtm::net::test;
using namespace std::chrono_literals;

TEST(NetLimits, LimitPerHostIsKept) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 3;
    Caller caller(settings);
    for (std::uint64_t id = 0; id < 20; ++id) caller.send(make_call(id, server.url("/hold")));
    ASSERT_TRUE(server.wait_for_held(3));
    // All the others have been handed over and wait.
    const auto end = Clock::now() + patience;
    while (caller.client.stats().queued != 17 && Clock::now() < end) std::this_thread::yield();
    EXPECT_EQ(caller.client.stats().in_flight, 3u);
    server.release();
    caller.wait_for(20);
    EXPECT_EQ(server.most_at_once(), 3u);
}

TEST(NetLimits, LimitOfAllCallsIsKept) {
    fault::Server first;
    fault::Server second;
    Settings settings;
    settings.max_in_flight = 4;
    Caller caller(settings);
    for (std::uint64_t id = 0; id < 20; ++id) {
        caller.send(make_call(id, (id % 2 == 0 ? first : second).url("/hold")));
    }
    ASSERT_TRUE(first.wait_for_held(2));
    ASSERT_TRUE(second.wait_for_held(2));
    EXPECT_LE(caller.client.stats().in_flight, 4u);
    first.release();
    second.release();
    caller.wait_for(20);
    EXPECT_LE(first.most_at_once(), 4u);
    EXPECT_LE(second.most_at_once(), 4u);
}

TEST(NetLimits, CallsOfAHostStartInOrder) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 1;
    Caller caller(settings);
    for (std::uint64_t id = 0; id < 100; ++id) {
        caller.send(make_call(id, server.url("/ok?" + std::to_string(id))));
    }
    const auto replies = caller.wait_for(100);
    const auto seen = server.seen();
    for (std::size_t i = 0; i < 100; ++i) {
        EXPECT_EQ(replies[i].id, i);
        EXPECT_EQ(seen.at(i).target, "/ok?" + std::to_string(i));
    }
}

TEST(NetLimits, DeadHostsDoNotStarveALiveOne) {
    fault::Server dead_one;
    fault::Server dead_two;
    fault::Server live;
    Settings settings;
    settings.max_in_flight = 16;
    settings.max_in_flight_per_host = 16;  // a dead host may fill everything but the reserve
    Caller caller(settings);
    std::vector<Call> calls;
    for (std::uint64_t id = 0; id < 500; ++id) {
        calls.push_back(make_call(1000 + id, dead_one.url("/hold"), 10min));
        calls.push_back(make_call(2000 + id, dead_two.url("/hold"), 10min));
    }
    caller.client.submit(calls);
    ASSERT_TRUE(dead_one.wait_for_held(1));
    for (std::uint64_t id = 0; id < 50; ++id) caller.send(make_call(id, live.url("/ok")));
    for (const Reply& reply : caller.wait_for(50)) {
        EXPECT_LT(reply.id, 50u);
        EXPECT_EQ(reply.status, 200) << reply.error;
    }
}

TEST(NetLimits, WhatHasNotStartedIsRecalled) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 3;
    Caller caller(settings);
    for (std::uint64_t id = 1; id <= 20; ++id) caller.send(make_call(id, server.url("/hold")));
    ASSERT_TRUE(server.wait_for_held(3));
    std::vector<IdRange> ids{{1, 10}};
    caller.client.recall(ids);
    EXPECT_TRUE(ids.empty());
    for (const Reply& reply : caller.wait_for(7)) {
        EXPECT_TRUE(reply.recalled && reply.id >= 4 && reply.id <= 10) << reply.id;
    }
    // What was submitted before the recall is covered, also when the thread had no time for it.
    std::vector<Call> calls;
    for (std::uint64_t id = 30; id < 40; ++id) calls.push_back(make_call(id, server.url("/hold")));
    caller.client.submit(calls);
    ids = {{30, 39}};
    caller.client.recall(ids);
    caller.wait_for(17);
    server.release();
    caller.wait_for(30);
    EXPECT_EQ(server.seen().size(), 13u);
    EXPECT_EQ(caller.client.stats().transport_errors, 0u);
}

// Nothing happens any more when a host that was quick hangs, and its queue fills all places.
TEST(NetLimits, AHostThatBecomesSlowGivesPlacesBack) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 2;
    settings.max_held = 30;
    Caller caller(settings);
    caller.ask(make_call(1, server.url("/ok")));
    caller.replies.clear();
    for (std::uint64_t id = 0; id < 30; ++id) {
        caller.send(make_call(id, server.url("/hold"), 10min));
    }
    for (const Reply& reply : caller.wait_for(20)) {
        EXPECT_EQ(reply.status, 0);
        EXPECT_TRUE(reply.deferred && *reply.deferred >= 1s) << reply.error;
    }
    EXPECT_EQ(caller.replies.size(), 20u);
    server.release();
    caller.wait_for(30);
}

TEST(NetLimits, TheProcessMayOpenAsManyFilesAsItMayAskFor) {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit lower{limit.rlim_max / 2, limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
    const Caller caller;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
}

// Whoever fetches the answers may be waiting for a commit.
TEST(NetLimits, AnswersThatNobodyFetchesHoldCallsBack) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 8;
    Caller caller(settings);
    std::vector<Call> calls;
    for (std::uint64_t id = 0; id < 800; ++id) {
        calls.push_back(make_call(id, server.url("/large/65536"), 10min));
    }
    caller.client.submit(calls);
    const auto end = Clock::now() + patience;
    const auto is_held_back = [&] {
        const Stats stats = caller.client.stats();
        return stats.replies * (65536 + sizeof(Reply)) >= 32u << 20 && stats.in_flight == 0;
    };
    while (!is_held_back() && Clock::now() < end) std::this_thread::sleep_for(1ms);
    EXPECT_TRUE(is_held_back());
    EXPECT_LE(caller.client.stats().replies, 512u + 8u);
    for (const Reply& reply : caller.wait_for(800)) EXPECT_EQ(reply.body.size(), 65536u);
}

// The network thread sleeps when it has nothing to do: who looks at the hosts still sees the last
// call, and an open breaker become half open by time alone.
TEST(NetLimits, HostsAreShownWhileTheThreadSleeps) {
    fault::Server server;
    Settings settings;
    settings.breaker_errors = 1;
    Caller caller(settings);
    const auto shows = [&caller](std::uint64_t calls, Breaker::State breaker) {
        const auto end = Clock::now() + patience;
        while (Clock::now() < end) {
            const auto all = caller.client.endpoints();
            if (all.size() == 1 && all[0].calls == calls && all[0].breaker == breaker) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    };
    for (std::uint64_t id = 0; id < 3; ++id) caller.ask(make_call(id, server.url("/ok")));
    EXPECT_TRUE(shows(3, Breaker::State::closed));
    caller.ask(make_call(3, server.url("/hold"), 50ms));
    EXPECT_TRUE(shows(4, Breaker::State::half_open));
    EXPECT_EQ(caller.ask(make_call(4, server.url("/ok"))).status, 200);
    EXPECT_TRUE(shows(5, Breaker::State::closed));
    server.release();
}

TEST(NetLimits, ConfigureAppliesToWaitingCalls) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 1;
    Caller caller(settings);
    for (std::uint64_t id = 0; id < 10; ++id) caller.send(make_call(id, server.url("/hold")));
    ASSERT_TRUE(server.wait_for_held(1));
    settings.max_in_flight_per_host = 5;
    settings.user_agent = "another";
    caller.client.configure(settings);
    ASSERT_TRUE(server.wait_for_held(5));
    server.release();
    caller.wait_for(10);
    EXPECT_EQ(server.seen().back().headers.at("User-Agent"), "another");
}

}  // namespace
