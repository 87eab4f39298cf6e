// P8 where no breaker opens: a host that is slow holds a part of the places, however many calls are
// for it; what it has no room for comes back. Time is a value here; nothing waits.
#include "net/host_queues.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace dtm::net;
using namespace std::chrono_literals;

class NetSlowHost : public testing::Test {
protected:
    NetSlowHost() {
        queues.set_room(100, 1'000'000);
        queues.set_limits(1000, 10);
    }

    void add(int count, const std::string& url, std::size_t bytes = 0, bool urgent = false) {
        for (int i = 0; i < count; ++i) {
            Call call;
            call.id = ++last_id;
            call.url = url;
            call.bytes = bytes;
            call.urgent = urgent;
            queues.add(std::move(call), now);
        }
    }
    // Starts all that may start; how many those are.
    std::size_t start() {
        const std::size_t before = running.size();
        while (auto next = queues.take(now)) running.push_back(next->place);
        return running.size() - before;
    }
    // The longest-running call of a host is answered.
    void answer(const std::string& key, std::chrono::microseconds elapsed) {
        const auto found =
            std::ranges::find(running, key, [](const HostQueues::Place& p) { return p.host->key; });
        ASSERT_NE(found, running.end());
        Reply reply;
        reply.status = 200;
        reply.elapsed = elapsed;
        queues.finished(*found, reply, now);
        running.erase(found);
    }
    std::vector<Reply> deferred() {
        std::vector<Reply> replies;
        queues.take_returned(replies);
        return replies;
    }
    std::uint32_t held(const std::string& key) {
        const auto all = queues.endpoints(now);
        const auto found = std::ranges::find(all, key, &Endpoint::key);
        return found == all.end() ? 0 : found->in_flight + found->waiting;
    }
    // One that has just answered, in a millisecond.
    void warm_up(const std::string& url, const std::string& key) {
        add(1, url);
        start();
        answer(key, 1ms);
    }

    Breaker::Time now{1000s};
    HostQueues queues;
    std::vector<HostQueues::Place> running;
    std::uint64_t last_id = 0;
};

TEST_F(NetSlowHost, OneHasAThirdOfThePlaces) {
    add(1000, "http://slow/");
    EXPECT_EQ(held("http://slow:80"), 33u);
    const auto back = deferred();
    ASSERT_EQ(back.size(), 967u);
    EXPECT_EQ(back[0].id, 34u) << "first come, first served";
    EXPECT_EQ(back[0].status, 0);
    EXPECT_EQ(back[0].error, "too many calls wait for http://slow:80 already, which is slow");
    EXPECT_FALSE(back[0].outage);
    EXPECT_EQ(start(), 10u);
    EXPECT_EQ(held("http://slow:80"), 33u);
    EXPECT_EQ(queues.endpoints(now)[0].deferred, 967u);
}

TEST_F(NetSlowHost, ManyLeaveSomethingForTheNext) {
    for (int n = 0; n < 20; ++n) {
        add(1000, "http://slow" + std::to_string(n) + "/");
        now += 1s;
        queues.shed(now);  // those that came first have too much now
    }
    EXPECT_LE(queues.waiting(), 95u);
    deferred();
    add(1, "http://live/");
    EXPECT_TRUE(deferred().empty());
    EXPECT_EQ(held("http://live:80"), 1u);
}

TEST_F(NetSlowHost, OneCallIsTakenOfEveryHost) {
    for (int n = 0; n < 500; ++n) add(1, "http://host" + std::to_string(n) + "/");
    EXPECT_TRUE(deferred().empty());
    EXPECT_EQ(start(), 500u);
}

TEST_F(NetSlowHost, WhoKeepsUpMayHaveThemAll) {
    warm_up("http://quick/", "http://quick:80");
    add(99, "http://quick/");
    EXPECT_TRUE(deferred().empty());
    EXPECT_TRUE(queues.crowded());
    for (int i = 0; i < 20; ++i) {
        start();
        now += 100ms;
        answer("http://quick:80", 2ms);
        queues.shed(now);
        ASSERT_TRUE(deferred().empty()) << i;
    }
}

TEST_F(NetSlowHost, WhoStopsAnsweringGivesThemBack) {
    warm_up("http://quick/", "http://quick:80");
    add(99, "http://quick/");
    start();
    now += 900ms;
    queues.shed(now);
    EXPECT_TRUE(deferred().empty());
    now += 100ms;
    queues.shed(now);
    EXPECT_EQ(deferred().size(), 66u);
    EXPECT_EQ(held("http://quick:80"), 33u);
    EXPECT_FALSE(queues.crowded());
}

// Some of its calls hang for ever and others are answered at once: the places that are left are too
// few for the queue.
TEST_F(NetSlowHost, QuickAnswersOfSomeDoNotMakeItQuick) {
    warm_up("http://mixed/", "http://mixed:80");
    add(99, "http://mixed/");
    start();
    for (int i = 0; i < 30; ++i) {
        now += 100ms;
        queues.shed(now);
        ASSERT_EQ(deferred().size(), i < 29 ? 0u : 37u) << i;
        answer("http://mixed:80", 1ms);
        start();
    }
}

TEST_F(NetSlowHost, SlowAnswersMakeItSlowBeforeAnybodyWaits) {
    warm_up("http://lame/", "http://lame:80");
    add(1, "http://lame/");
    start();
    for (int i = 0; i < 100; ++i) {
        add(1, "http://lame/");
        start();
        answer("http://lame:80", 5s);
    }
    add(98, "http://lame/");
    EXPECT_EQ(held("http://lame:80"), 33u);
}

TEST_F(NetSlowHost, MemoryIsSharedLikePlaces) {
    add(50, "http://large/", 100'000);
    EXPECT_EQ(held("http://large:80"), 3u);
    EXPECT_EQ(deferred().size(), 47u);
    start();
    add(10, "http://other/", 100'000);
    EXPECT_EQ(held("http://other:80"), 2u);
    for (int i = 0; i < 3; ++i) answer("http://large:80", 5s);
    deferred();
    add(10, "http://third/", 100'000);
    EXPECT_EQ(held("http://third:80"), 2u) << "what has ended is free again";
}

TEST_F(NetSlowHost, CallsInFlightAreHeldToo) {
    queues.set_limits(1000, 1000);
    warm_up("http://quick/", "http://quick:80");
    add(99, "http://quick/");
    EXPECT_EQ(start(), 50u) << "half of all places, whatever the limit of a host";
    now += 1s;
    queues.shed(now);
    EXPECT_EQ(held("http://quick:80"), 50u);
    EXPECT_EQ(deferred().size(), 49u);
    add(25, "http://live/");
    EXPECT_EQ(held("http://live:80"), 16u);
}

TEST_F(NetSlowHost, WhatHasBegunIsSentBackLast) {
    add(20, "http://slow/");
    add(20, "http://slow/", 0, true);
    const auto back = deferred();
    ASSERT_EQ(back.size(), 7u);
    for (const Reply& reply : back) EXPECT_LE(reply.id, 20u);
}

TEST_F(NetSlowHost, WhatIsSentBackComesOneByOne) {
    add(1033, "http://slow/");
    auto back = deferred();
    ASSERT_EQ(back.size(), 1000u);
    EXPECT_EQ(*back.front().deferred, 1000ms);
    EXPECT_EQ(*back.back().deferred, 1500ms) << "2000 a second";
    start();
    now += 20s;
    add(1, "http://slow/");
    back = deferred();
    EXPECT_EQ(*back.at(0).deferred, 20s) << "as long as nothing has moved";
    now += 1h;
    add(1, "http://slow/");
    back = deferred();
    EXPECT_EQ(*back.at(0).deferred, 60s) << "not longer than a dead host's";
}

}  // namespace
