// Which call may start next: limits, order, turns.
#include "net/host_queues.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace dtm::net;
using namespace std::chrono_literals;

// The instant of a test in which time does not matter.
constexpr Breaker::Time kNow{1000s};

Call call(std::uint64_t id, std::string url) {
    Call made;
    made.id = id;
    made.url = std::move(url);
    return made;
}

Reply answer() {
    Reply made;
    made.status = 200;
    return made;
}

TEST(NetQueues, HostsTakeTurns) {
    HostQueues queues;
    queues.set_limits(100, 100);
    for (std::uint64_t id = 0; id < 3; ++id) queues.add(call(id, "http://a/"), kNow);
    for (std::uint64_t id = 10; id < 12; ++id) queues.add(call(id, "http://b/"), kNow);
    std::vector<std::uint64_t> order;
    while (auto next = queues.take(kNow)) order.push_back(next->call.id);
    EXPECT_EQ(order, (std::vector<std::uint64_t>{0, 10, 1, 11, 2}));
    EXPECT_EQ(queues.in_flight(), 5u);
    EXPECT_EQ(queues.waiting(), 0u);
}

TEST(NetQueues, WhatHasBegunGoesFirst) {
    HostQueues queues;
    queues.set_limits(100, 100);
    for (std::uint64_t id = 0; id < 3; ++id) {
        Call made = call(id, "http://a/");
        made.urgent = id > 0;
        queues.add(std::move(made), kNow);
    }
    std::vector<std::uint64_t> order;
    while (auto next = queues.take(kNow)) order.push_back(next->call.id);
    EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 0}));
}

TEST(NetQueues, LimitPerHost) {
    HostQueues queues;
    queues.set_limits(100, 2);
    for (std::uint64_t id = 0; id < 4; ++id) queues.add(call(id, "http://a/"), kNow);
    auto first = queues.take(kNow);
    ASSERT_TRUE(first);
    ASSERT_TRUE(queues.take(kNow));
    EXPECT_FALSE(queues.take(kNow));
    EXPECT_EQ(queues.waiting(), 2u);
    queues.finished(first->place, answer(), kNow);
    EXPECT_EQ(queues.take(kNow)->call.id, 2u);
    EXPECT_FALSE(queues.take(kNow));
}

TEST(NetQueues, LastEighthIsForHostsThatHaveNothing) {
    HostQueues queues;
    queues.set_limits(16, 100);
    for (std::uint64_t id = 0; id < 50; ++id) queues.add(call(id, "http://dead/"), kNow);
    std::size_t started = 0;
    while (queues.take(kNow)) ++started;
    EXPECT_EQ(started, 14u);
    queues.add(call(100, "http://a/"), kNow);
    queues.add(call(101, "http://a/"), kNow);
    queues.add(call(102, "http://b/"), kNow);
    EXPECT_EQ(queues.take(kNow)->call.id, 100u);
    EXPECT_EQ(queues.take(kNow)->call.id, 102u);
    EXPECT_FALSE(queues.take(kNow));
    EXPECT_EQ(queues.in_flight(), 16u);
}

TEST(NetQueues, LimitsChangeWhileCallsWait) {
    HostQueues queues;
    queues.set_limits(100, 1);
    for (std::uint64_t id = 0; id < 5; ++id) queues.add(call(id, "http://a/"), kNow);
    ASSERT_TRUE(queues.take(kNow));
    EXPECT_FALSE(queues.take(kNow));
    queues.set_limits(100, 3);
    auto second = queues.take(kNow);
    ASSERT_TRUE(second);
    queues.set_limits(100, 1);
    EXPECT_FALSE(queues.take(kNow));
    queues.finished(second->place, answer(), kNow);
    EXPECT_FALSE(queues.take(kNow));
    queues.finished(second->place, answer(), kNow);
    EXPECT_EQ(queues.take(kNow)->call.id, 2u);
}

TEST(NetQueues, LimitsOfZeroMeanOne) {
    HostQueues queues;
    queues.set_limits(0, 0);
    queues.add(call(1, "http://a/"), kNow);
    EXPECT_TRUE(queues.take(kNow));
}

TEST(NetQueues, WhatWaitsIsRecalledByItsNumber) {
    HostQueues queues;
    queues.set_limits(100, 1);
    for (std::uint64_t id = 1; id <= 9; ++id) {
        Call made = call(id, id % 2 == 0 ? "http://a/" : "http://b/");
        made.urgent = id > 4;
        made.probe = id == 8;
        made.bytes = 1000;
        queues.add(std::move(made), kNow);
    }
    const auto b = queues.take(kNow), a = queues.take(kNow);
    ASSERT_TRUE(a && b && a->call.id == 6 && b->call.id == 5);
    queues.recall({{6, 7}, {3, 3}, {6, 6}, {8, 8}, {5, 5}, {100, 200}});
    std::vector<Reply> replies;
    queues.take_returned(replies);
    std::vector<std::uint64_t> ids;
    for (const Reply& reply : replies) {
        EXPECT_TRUE(reply.recalled && !reply.deferred && reply.status == 0) << reply.id;
        EXPECT_EQ(reply.probe, reply.id == 8);
        ids.push_back(reply.id);
    }
    std::ranges::sort(ids);
    EXPECT_EQ(ids, (std::vector<std::uint64_t>{3, 7, 8}));
    EXPECT_EQ(queues.waiting(), 4u);
    EXPECT_EQ(queues.in_flight(), 2u) << "what has started is not recalled";
    queues.finished(a->place, answer(), kNow);
    queues.finished(b->place, answer(), kNow);
    EXPECT_TRUE(queues.take(kNow));
}

TEST(NetQueues, AHostWhoseCallsAreAllRecalledHasNoTurn) {
    HostQueues queues;
    queues.set_limits(1, 1);
    queues.add(call(1, "http://a/"), kNow);
    const auto first = queues.take(kNow);
    queues.add(call(2, "http://b/"), kNow);
    queues.recall({{1, 2}});
    queues.finished(first->place, answer(), kNow);
    EXPECT_FALSE(queues.take(kNow));
    queues.add(call(3, "http://b/"), kNow);
    EXPECT_EQ(queues.take(kNow)->call.id, 3u);
    EXPECT_EQ(queues.waiting(), 0u);
}

TEST(NetQueues, ManyHostsDoNotStayForEver) {
    HostQueues queues;
    queues.set_limits(10, 10);
    for (std::uint64_t id = 0; id < 5000; ++id) {
        queues.add(call(id, "http://host" + std::to_string(id) + "/"), kNow);
        const auto next = queues.take(kNow);
        ASSERT_TRUE(next);
        queues.finished(next->place, answer(), kNow);
    }
    EXPECT_EQ(queues.in_flight(), 0u);
}

}  // namespace
