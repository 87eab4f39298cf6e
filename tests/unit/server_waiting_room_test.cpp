// Who waits for a round, until when, and what it means that nobody waits any longer: that is never
// the word for a transaction that failed.
#include "core_testkit.hpp"
#include "server/waiting_room.hpp"

#include <algorithm>
#include <limits>

namespace dtm::server {
namespace {

using namespace std::chrono_literals;
using Time = WaitingRoom::Time;

constexpr Time kStart{};

Guest guest(std::uint64_t http, std::int64_t version = 1, Time until = kStart + 10s) {
    Guest guest;
    guest.http = http;
    guest.version = version;
    guest.until = until;
    return guest;
}

RoundEnd end_of(const std::string& gid) {
    RoundEnd end;
    end.gid = gid;
    return end;
}

std::vector<std::uint64_t> ids(const std::vector<Guest>& guests) {
    std::vector<std::uint64_t> ids;
    for (const Guest& g : guests) ids.push_back(g.http);
    std::ranges::sort(ids);
    return ids;
}

using Ids = std::vector<std::uint64_t>;

TEST(WaitingRoom, AllWhoWaitForTheLastRoundHearOfIt) {
    WaitingRoom room;
    room.admit("a", guest(1));
    room.admit("a", guest(2, 7));
    room.admit("b", guest(3));
    EXPECT_TRUE(room.is_awaited("a"));
    EXPECT_EQ(ids(room.leave(end_of("a"))), (Ids{1, 2}));
    EXPECT_FALSE(room.is_awaited("a"));
    EXPECT_EQ(ids(room.leave(end_of("a"))), Ids{});
    EXPECT_EQ(room.gids(), std::vector<std::string>{"b"});
    EXPECT_EQ(room.size(), 1u);
}

TEST(WaitingRoom, AnOldRoundIsNotTheirs) {
    WaitingRoom room;
    room.admit("a", guest(1, 4));
    room.admit("a", guest(2, 5));
    RoundEnd end = end_of("a");
    end.version = 3;
    EXPECT_EQ(ids(room.leave(end)), Ids{});
    end.version = 4;
    EXPECT_EQ(ids(room.leave(end)), Ids{1});
    EXPECT_TRUE(room.is_awaited("a"));
    end.version = 6;
    EXPECT_EQ(ids(room.leave(end)), Ids{2});
}

TEST(WaitingRoom, EachWaitsUntilItsTimeIsOver) {
    WaitingRoom room;
    room.admit("a", guest(1, 1, kStart + 10s));
    room.admit("a", guest(2, 1, kStart + 20s));
    room.admit("b", guest(3, 1, kStart + 10s));
    EXPECT_EQ(ids(room.leave(kStart + 9s)), Ids{});
    EXPECT_EQ(ids(room.leave(kStart + 10s)), (Ids{1, 3}));
    EXPECT_FALSE(room.is_awaited("b"));
    EXPECT_EQ(ids(room.leave(kStart + 20s)), Ids{2});
    EXPECT_EQ(room.size(), 0u);
}

TEST(WaitingRoom, WhoeverIsGoneIsForgotten) {
    WaitingRoom room;
    room.admit("a", guest(1));
    room.admit("a", guest(2));
    room.admit("b", guest(3));
    EXPECT_EQ(room.forget(Ids{3, 9, 1}), Ids{9}) << "who has not come so far";
    EXPECT_EQ(room.size(), 1u);
    EXPECT_FALSE(room.is_awaited("b"));
    EXPECT_EQ(ids(room.leave(end_of("a"))), Ids{2});
    EXPECT_EQ(room.forget(Ids{2}), Ids{2});
}

core::Request request_of(core::TransType type, std::size_t branches, core::Seconds timeout) {
    core::Request request;
    request.type = type;
    request.branches.resize(branches);
    request.options.request_timeout = timeout;
    return request;
}

TEST(LongestWait, IsAsLongAsTheCallsOfARound) {
    core::Policy policy;
    policy.request_timeout = 3s;
    const WaitLimits limits{.beyond_calls = 5s, .most = 1000s};
    using T = core::TransType;
    // Forward, and back again.
    EXPECT_EQ(longest_wait(request_of(T::saga, 1, 200s), policy, limits), 405s);
    EXPECT_EQ(longest_wait(request_of(T::saga, 2, 0s), policy, limits), 17s);
    EXPECT_EQ(longest_wait(request_of(T::tcc, 3, 10s), policy, limits), 35s);
    EXPECT_EQ(longest_wait(request_of(T::msg, 0, 10s), policy, limits), 5s);
    EXPECT_EQ(longest_wait(request_of(T::msg, 1000, 10s), policy, limits), 1000s);
    core::Request insists = request_of(T::saga, 2, 10s);
    insists.options.retry_limit = 3;
    EXPECT_EQ(longest_wait(insists, policy, limits), 105s);
    insists.options.retry_limit = std::numeric_limits<std::uint32_t>::max();
    EXPECT_EQ(longest_wait(insists, policy, limits), 1000s);
    const core::Seconds longest{std::numeric_limits<std::int32_t>::max()};
    EXPECT_EQ(longest_wait(request_of(T::saga, 1000, longest), policy, limits), 1000s);
    // D22: the request's own timeout, not a limit of the server's.
    EXPECT_GT(longest_wait(request_of(T::saga, 1, 200s), policy), 400s);
}

TEST(LongestWait, ItsEndIsNoFailure) {
    const wire::ApiOutcome outcome = no_end_in_sight();
    EXPECT_EQ(wire::http_status(outcome.kind), 425u);
    EXPECT_NE(outcome.message.find("ONGOING"), std::string::npos);
    EXPECT_EQ(wire::outcome_json(outcome).find("FAILURE"), std::string::npos);
}

}  // namespace
}  // namespace dtm::server
