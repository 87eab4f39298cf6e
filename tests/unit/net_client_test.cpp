// The network thread against a server that misbehaves. Every test waits for what must happen; the
// only times are generous limits above which something hangs.
#include "net_testkit.hpp"

#include <dlfcn.h>
#include <netdb.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>

// A name server that does not answer, for one name: libcurl in this process calls this getaddrinfo.
namespace {
std::atomic<bool> resolver_is_dead{false};
std::atomic<int> resolvers_waiting{0};
}  // namespace

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** result) {
    ++resolvers_waiting;
    while (node != nullptr && std::string_view(node) == "dead-resolver.test" && resolver_is_dead) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    --resolvers_waiting;
    using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static const auto real = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "getaddrinfo"));
    return real(node, service, hints, result);
}

namespace {

using namespace dtm::net;
using namespace dtm::net::test;
using namespace std::chrono_literals;

TEST(NetClient, AnswersCarryIdStatusAndBody) {
    fault::Server server;
    Caller caller;
    const Reply reply = caller.ask(make_post(42, server.url("/ok?a=1"), R"({"amount":30})"));
    EXPECT_EQ(reply.id, 42u);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, R"({"amount":30})");
    EXPECT_EQ(reply.error, "");
    EXPECT_GT(reply.elapsed.count(), 0);
    const fault::Seen seen = server.seen().at(0);
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.target, "/ok?a=1");
    EXPECT_EQ(seen.headers.at("Content-Type"), "application/json");
    EXPECT_EQ(seen.headers.at("Accept"), "application/json");
    EXPECT_EQ(seen.headers.at("User-Agent"), "dtm_pg");
    EXPECT_EQ(seen.headers.count("Expect"), 0u);
}

TEST(NetClient, GetAfterPostHasNoBody) {
    fault::Server server;
    Caller caller;
    caller.ask(make_post(1, server.url("/ok"), "body"));
    const Reply reply = caller.ask(make_call(2, server.url("/ok")));
    EXPECT_EQ(reply.body, "ok");
    EXPECT_EQ(server.seen().at(1).method, "GET");
    EXPECT_EQ(server.seen().at(1).headers.count("Content-Length"), 0u);
}

TEST(NetClient, EmptyPostIsAPost) {
    fault::Server server;
    Caller caller;
    EXPECT_EQ(caller.ask(make_post(1, server.url("/ok"), "")).status, 200);
    EXPECT_EQ(server.seen().at(0).method, "POST");
    EXPECT_EQ(server.seen().at(0).headers.at("Content-Length"), "0");
}

TEST(NetClient, LargeBodiesArriveUntouched) {
    fault::Server server;
    Caller caller;
    std::string body(3 << 20, 'x');
    for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 31);
    Settings settings;
    settings.max_body = 4 << 20;
    caller.client.configure(settings);
    const Reply reply = caller.ask(make_post(1, server.url("/ok"), body));
    EXPECT_EQ(reply.status, 200);
    EXPECT_TRUE(reply.body == body);
    EXPECT_TRUE(server.seen().at(0).body == body);
}

TEST(NetClient, HeadersOfACallDoNotStayForTheNext) {
    fault::Server server;
    Caller caller;
    Call call = make_call(1, server.url("/ok"));
    call.headers = make_headers({"X-Empty;", "X-One: 1", "Accept:", "User-Agent: mine"});
    caller.ask(std::move(call));
    caller.ask(make_call(2, server.url("/ok")));
    const auto seen = server.seen();
    EXPECT_EQ(seen.at(0).headers.at("X-One"), "1");
    EXPECT_EQ(seen.at(0).headers.at("X-Empty"), "");
    EXPECT_EQ(seen.at(0).headers.at("User-Agent"), "mine");
    EXPECT_EQ(seen.at(0).headers.count("Accept"), 0u);
    EXPECT_EQ(seen.at(1).headers.count("X-One"), 0u);
    EXPECT_EQ(seen.at(1).headers.at("User-Agent"), "dtm_pg");
    EXPECT_EQ(seen.at(1).headers.at("Accept"), "application/json");
}

TEST(NetClient, EveryStatusIsAnAnswer) {
    fault::Server server;
    Caller caller;
    for (const int status : {200, 201, 204, 400, 401, 404, 409, 425, 429, 500, 503, 599}) {
        const Reply reply =
            caller.ask(make_call(1, server.url("/status/" + std::to_string(status))));
        EXPECT_EQ(reply.status, status);
        EXPECT_EQ(reply.error, "");
        EXPECT_EQ(reply.body, status == 204 ? "" : "status " + std::to_string(status));
    }
}

TEST(NetClient, BytesArePassedOnAsTheyAre) {
    fault::Server server;
    Caller caller;
    EXPECT_EQ(caller.ask(make_call(1, server.url("/binary"))).body, std::string("\0\xff\xfe\0", 4));
}

TEST(NetClient, PathIsCalledAsItIsStored) {
    fault::Server server;
    Caller caller;
    caller.ask(make_call(1, server.url("/a/../b/./c%2Fd?x=%20&y=a/../b")));
    EXPECT_EQ(server.seen().at(0).target, "/a/../b/./c%2Fd?x=%20&y=a/../b");
}

// ---- answers that are none ----------------------------------------------------------------------

TEST(NetClient, BrokenAnswersAreTransportErrors) {
    fault::Server server;
    Caller caller;
    for (const char* path :
         {"/reset", "/nothing", "/truncated", "/cut-chunks", "/garbage", "/headers"}) {
        const Reply reply = caller.ask(make_call(7, server.url(path)));
        EXPECT_EQ(reply.id, 7u) << path;
        EXPECT_EQ(reply.status, 0) << path;
        EXPECT_NE(reply.error, "") << path;
        EXPECT_EQ(reply.body, "") << path;
    }
    EXPECT_EQ(caller.ask(make_call(8, server.url("/ok"))).status, 200);
}

TEST(NetClient, SilenceEndsWithTheCallsTimeout) {
    fault::Server server;
    Caller caller;
    for (const char* path : {"/never", "/stall"}) {
        const auto start = Clock::now();
        const Reply reply = caller.ask(make_call(1, server.url(path), 150ms));
        EXPECT_EQ(reply.status, 0) << path;
        EXPECT_NE(reply.error.find("timed out"), std::string::npos) << reply.error;
        EXPECT_GE(Clock::now() - start, 140ms) << path;
    }
}

TEST(NetClient, TimeoutOfZeroIsNotForEver) {
    fault::Server server;
    Caller caller;
    EXPECT_EQ(caller.ask(make_call(1, server.url("/never"), 0ms)).status, 0);
    EXPECT_EQ(caller.ask(make_call(1, server.url("/never"), -5ms)).status, 0);
}

TEST(NetClient, RefusedConnectionIsSaidInWords) {
    int port = 0;
    {
        fault::Server server;
        port = server.port();
    }
    Caller caller;
    const Reply reply = caller.ask(make_call(1, "http://127.0.0.1:" + std::to_string(port) + "/"));
    EXPECT_EQ(reply.status, 0);
    EXPECT_NE(reply.error.find("connect"), std::string::npos) << reply.error;
}

TEST(NetClient, UrlsThatAreNoneAreErrorsOfTheirCallOnly) {
    fault::Server server;
    Caller caller;
    for (const char* url : {"", "http://", "ftp://127.0.0.1/", "file:///etc/passwd", "gopher://x/",
                            "http://[::1", "http://127.0.0.1:99999/", "nonsense"}) {
        const Reply reply = caller.ask(make_call(1, url));
        EXPECT_EQ(reply.status, 0) << url;
        EXPECT_NE(reply.error, "") << url;
    }
    EXPECT_EQ(caller.ask(make_call(2, server.url("/ok"))).status, 200);
}

TEST(NetClient, BodiesAreCutAtTheCap) {
    fault::Server server;
    Settings settings;
    settings.max_body = 1000;
    Caller caller(settings);
    // Read to its end, kept in part, and the connection is good for the next call.
    const Reply whole = caller.ask(make_call(1, server.url("/large/1000")));
    EXPECT_EQ(whole.body, std::string(1000, 'L'));
    const Reply part = caller.ask(make_call(2, server.url("/large/15000")));
    EXPECT_EQ(part.status, 200);
    EXPECT_EQ(part.body, std::string(1000, 'L'));
    EXPECT_EQ(server.connections(), 1u);
    // So large that it is not read to its end: what was kept is the answer.
    const Reply endless = caller.ask(make_call(3, server.url("/endless")));
    EXPECT_EQ(endless.status, 200);
    EXPECT_EQ(endless.error, "");
    EXPECT_EQ(endless.body, std::string(1000, 'E'));
}

// ---- what is not done ---------------------------------------------------------------------------

TEST(NetClient, RedirectsAreNotFollowed) {
    fault::Server server;
    Caller caller;
    const Reply reply = caller.ask(make_call(1, server.url("/redirect")));
    EXPECT_EQ(reply.status, 302);
    EXPECT_EQ(reply.body, "moved");
    EXPECT_EQ(server.seen().size(), 1u);
}

TEST(NetClient, ProxiesOfTheEnvironmentAreIgnored) {
    fault::Server server;
    fault::Server proxy;
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}) {
        ::setenv(name, proxy.url("").c_str(), 1);
    }
    Caller caller;
    EXPECT_EQ(caller.ask(make_call(1, server.url("/ok"))).status, 200);
    for (const char* name : {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"})
        ::unsetenv(name);
    EXPECT_EQ(proxy.connections(), 0u);
    EXPECT_EQ(server.seen().size(), 1u);
}

// ---- connections --------------------------------------------------------------------------------

TEST(NetClient, ManyCallsOverFewConnections) {
    fault::Server server;
    Settings settings;
    settings.max_in_flight_per_host = 8;
    Caller caller(settings);
    constexpr std::uint64_t count = 2000;
    std::vector<Call> calls;
    for (std::uint64_t id = 0; id < count; ++id) {
        calls.push_back(make_post(id, server.url("/ok"), std::to_string(id)));
    }
    caller.client.submit(calls);
    std::map<std::uint64_t, std::string> bodies;
    for (const Reply& reply : caller.wait_for(count)) {
        EXPECT_EQ(reply.status, 200) << reply.error;
        bodies[reply.id] = reply.body;
    }
    ASSERT_EQ(bodies.size(), count);
    for (const auto& [id, body] : bodies) EXPECT_EQ(body, std::to_string(id));
    EXPECT_LE(server.connections(), 8u);
    const Stats stats = caller.client.stats();
    EXPECT_EQ(stats.calls, count);
    EXPECT_EQ(stats.replies, count);
    EXPECT_EQ(stats.transport_errors, 0u);
    EXPECT_EQ(stats.connects, server.connections());
    EXPECT_EQ(stats.in_flight, 0u);
    EXPECT_EQ(stats.queued, 0u);
}

TEST(NetClient, ConnectionsClosedByThePeerAreReplaced) {
    fault::Server server;
    Caller caller;
    for (std::uint64_t id = 0; id < 300; ++id) {
        const Reply reply = caller.ask(make_post(id, server.url("/close"), "x"));
        EXPECT_EQ(reply.status, 200) << reply.error;
    }
}

// ---- limits and fairness ------------------------------------------------------------------------

// Bounded by 100 ms in the contract; sanitizers and a busy machine get a multiple, a hang does not.
constexpr auto destruction_limit = 5s;

TEST(NetClient, DestructionAbandonsCallsInFlight) {
    fault::Server server;
    auto caller = std::make_unique<Caller>();
    for (std::uint64_t id = 0; id < 300; ++id)
        caller->send(make_call(id, server.url("/hold"), 10min));
    ASSERT_TRUE(server.wait_for_held(100));
    const auto start = Clock::now();
    caller.reset();
    EXPECT_LT(Clock::now() - start, destruction_limit);
}

TEST(NetClient, DestructionReleasesTheCallersMemory) {
    fault::Server server;
    const auto body = std::make_shared<const std::string>("body");
    auto caller = std::make_unique<Caller>();
    for (std::uint64_t id = 0; id < 150; ++id) {
        Call call = make_call(id, server.url("/hold"), 10min);
        call.post = true;
        call.body = *body;
        call.keep = body;
        caller->send(std::move(call));
    }
    ASSERT_TRUE(server.wait_for_held(100));
    caller.reset();
    EXPECT_EQ(body.use_count(), 1);
}

TEST(NetClient, DeadNameServerBlocksNeitherOthersNorTheEnd) {
    fault::Server server;
    resolver_is_dead = true;
    auto caller = std::make_unique<Caller>();
    caller->send(make_call(1, "http://dead-resolver.test/", 100ms));
    caller->send(make_call(2, "http://dead-resolver.test/", 10min));
    const auto& replies = caller->wait_for(1);
    EXPECT_EQ(replies[0].id, 1u);
    EXPECT_EQ(replies[0].status, 0);
    EXPECT_NE(replies[0].error, "");
    // The thread did not wait for the resolver when the first call timed out.
    caller->send(make_call(3, server.url("/ok")));
    EXPECT_EQ(caller->wait_for(2)[1].id, 3u);
    EXPECT_GT(resolvers_waiting, 0);
    const auto start = Clock::now();
    caller.reset();
    EXPECT_LT(Clock::now() - start, destruction_limit);
    EXPECT_GT(resolvers_waiting, 0);
    resolver_is_dead = false;  // let libcurl's threads end before the process does
    const auto end = Clock::now() + patience;
    while (resolvers_waiting > 0 && Clock::now() < end) std::this_thread::sleep_for(1ms);
}

TEST(NetClient, IdleClientsComeAndGo) {
    for (int i = 0; i < 50; ++i) {
        Client client{Settings()};
        EXPECT_EQ(client.stats().calls, 0u);
    }
}

TEST(NetClient, ReadyFdIsReadableOnlyWhileRepliesWait) {
    fault::Server server;
    Caller caller;
    caller.send(make_call(1, server.url("/ok")));
    pollfd wait{caller.client.ready_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&wait, 1, 30000), 1);
    ASSERT_EQ(::poll(&wait, 1, 0), 1);  // level-triggered: still there
    caller.client.drain(caller.replies);
    EXPECT_EQ(caller.replies.size(), 1u);
    EXPECT_EQ(::poll(&wait, 1, 0), 0);
    caller.client.drain(caller.replies);  // nothing to fetch is no error
    EXPECT_EQ(caller.replies.size(), 1u);
}

TEST(NetClient, SeveralThreadsMaySubmit) {
    fault::Server server;
    Caller caller;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::uint64_t i = 0; i < 50; ++i) {
                std::vector<Call> calls;
                calls.push_back(make_call(t * 50 + i, server.url("/ok")));
                caller.client.submit(calls);
            }
        });
    }
    caller.wait_for(200);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(caller.replies.size(), 200u);
}

}  // namespace
