// The listener opens, moves, closes and ends while requests are under way; and calls go on beside.
#include "net_server_testkit.hpp"

#include <random>

namespace {

using namespace dtm::net;
using namespace dtm::net::test;
using namespace std::chrono_literals;

ServerSettings at(std::string address) {
    ServerSettings settings;
    settings.listen = std::move(address);
    return settings;
}

// A port that somebody else has, below the ephemeral ones so that no connection is in the way.
class Occupied {
public:
    Occupied() {
        for (port_ = 20500 + ::getpid() % 11000; port_ < 32000; ++port_) {
            fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_port = htons(static_cast<std::uint16_t>(port_));
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                ::listen(fd_, 1) == 0) {
                return;
            }
            ::close(fd_);
        }
    }
    ~Occupied() { release(); }
    Occupied(const Occupied&) = delete;
    Occupied& operator=(const Occupied&) = delete;
    void release() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    int port() const { return port_; }
    std::string address(std::string_view host = "127.0.0.1") const {
        return std::string(host) + ":" + std::to_string(port_);
    }

private:
    int fd_ = -1;
    int port_ = 0;
};

// ---- addresses ----------------------------------------------------------------------------------

TEST(NetServerChange, EveryFormOfAnAddressOpens) {
    Host host;
    host.echo();
    for (const char* address : {"127.0.0.1:0", "localhost:0", "0.0.0.0:0", "*:0"}) {
        host.listen(at(address));
        EXPECT_EQ(Wire(host.port()).ask(get("/")).status, 200) << address;
        EXPECT_EQ(host.client->listener().error, "");
    }
    // Where there is IPv6.
    host.listen(at("[::1]:0"));
    EXPECT_TRUE(eventually([&] {
        const ListenerState state = host.client->listener();
        return state.listening.starts_with("[::1]:") || state.error.find("[::1]:0: ") < 20;
    })) << host.client->listener().error;
}

TEST(NetServerChange, WhatIsNoAddressIsAnError) {
    Host host;
    const int port = host.port();
    for (const char* address :
         {"nonsense", "127.0.0.1", ":1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:http",
          "::1:80", "[::1]", "[127.0.0.1]:80", "host:80", "127.0.0.1:-1", "[*]:80"}) {
        host.client->listen(at(address));
        const std::string error = "\"" + std::string(address) + "\" is not an address and a port";
        EXPECT_TRUE(eventually([&] { return host.client->listener().error.starts_with(error); }))
            << host.client->listener().error;
    }
    // What worked still does.
    EXPECT_TRUE(Wire(port).connected());
}

TEST(NetServerChange, TakenAddressesAreTriedAgain) {
    Occupied other;
    Host host(at(other.address()));
    host.echo();
    EXPECT_TRUE(eventually([&] {
        return host.client->listener().error ==
               "bind " + other.address() + ": Address already in use";
    })) << host.client->listener().error;
    EXPECT_EQ(host.client->listener().listening, "");
    other.release();
    EXPECT_EQ(host.port(), other.port());
    EXPECT_EQ(host.client->listener().error, "");
    EXPECT_EQ(Wire(other.port()).ask(get("/")).status, 200);
}

// The old address stays as long as the new one is not to be had.
TEST(NetServerChange, TheOldAddressStaysUntilTheNewOneOpens) {
    Occupied other;
    Host host;
    host.echo();
    const int port = host.port();
    host.client->listen(at(other.address()));
    EXPECT_TRUE(eventually([&] { return !host.client->listener().error.empty(); }));
    EXPECT_EQ(Wire(port).ask(get("/")).status, 200);
    other.release();
    EXPECT_TRUE(eventually([&] { return host.client->listener().listening == other.address(); }));
    EXPECT_FALSE(Wire(port).connected());
    EXPECT_EQ(Wire(other.port()).ask(get("/")).status, 200);
}

TEST(NetServerChange, RequestsInProgressSurviveAMove) {
    Host host;
    const int port = host.port();
    Wire busy(port);
    Wire half(port);
    Wire idle(port);
    busy.send(get("/busy"));
    half.send("GET /half HT");
    const std::uint64_t id = host.wait_for(1)[0].id;
    ASSERT_TRUE(host.waits_for_connections(3));
    host.listen(at("localhost:0"));
    const int moved = host.port();
    EXPECT_NE(moved, port);
    EXPECT_FALSE(Wire(port).connected());
    host.answer(make_answer(id, "busy"));
    EXPECT_EQ(busy.read_answer().body, "busy");
    half.send("TP/1.1\r\n\r\n");
    idle.send(get("/idle"));
    Wire fresh(moved);
    fresh.send(get("/new"));
    for (const HttpRequest& request : host.wait_for(4)) {
        host.answer(make_answer(request.id, request.target));
    }
    EXPECT_EQ(half.read_answer().body, "/half");
    EXPECT_EQ(idle.read_answer().body, "/idle");
    EXPECT_EQ(fresh.read_answer().body, "/new");
}

// "*" and an address of this machine cannot be open with one port at the same time.
TEST(NetServerChange, AddressesMayShareAPort) {
    Occupied other;
    other.release();
    Host host(at(other.address("*")));
    host.echo();
    EXPECT_EQ(host.port(), other.port());
    Wire wire(other.port());
    EXPECT_EQ(wire.ask(get("/")).status, 200);
    for (const char* name : {"127.0.0.1", "*", "localhost"}) {
        host.listen(at(other.address(name)));
        EXPECT_EQ(host.port(), other.port());
        EXPECT_EQ(Wire(other.port()).ask(get("/")).status, 200);
        EXPECT_EQ(host.client->listener().error, "");
    }
    EXPECT_EQ(wire.ask(get("/")).status, 200);
}

TEST(NetServerChange, WithoutAnAddressWhatIsCompleteIsAnswered) {
    Host host;
    const int port = host.port();
    Wire busy(port);
    Wire half(port);
    Wire idle(port);
    busy.send(get("/busy") + get("/next"));
    half.send("GET /half HT");
    const std::uint64_t id = host.wait_for(1)[0].id;
    ASSERT_TRUE(host.waits_for_connections(3));
    host.client->listen(ServerSettings());
    EXPECT_TRUE(idle.closes());
    EXPECT_FALSE(Wire(port).connected());
    EXPECT_TRUE(eventually([&] { return host.client->listener().listening.empty(); }));
    const Answer refusal = half.read_answer();
    EXPECT_EQ(refusal.status, 503);
    EXPECT_TRUE(refusal.body.find("connect again") != std::string::npos) << refusal.body;
    EXPECT_TRUE(half.closes());
    host.answer(make_answer(id, "busy"));
    const Answer last = busy.read_answer();
    EXPECT_EQ(last.body, "busy");
    EXPECT_EQ(last.headers.at("connection"), "close");
    EXPECT_TRUE(busy.closes());  // what came early is not even read
    busy.close();
    half.close();
    EXPECT_TRUE(host.waits_for_connections(0));
    // And again.
    host.listen(at("127.0.0.1:0"));
    Wire wire(host.port());
    wire.send(get("/again"));
    host.answer(make_answer(host.wait_for(2)[1].id, "again"));
    EXPECT_EQ(wire.read_answer().body, "again");
}

// Whatever it sends ahead: an answer that is on its way is the last one.
TEST(NetServerChange, WithoutAnAddressAPipelineEnds) {
    Host host;
    host.echo();
    Wire wire(host.port());
    std::atomic<bool> stop{false};
    std::thread sender([&] {
        while (!stop && wire.send(get("/x") + get("/y"))) {}
    });
    EXPECT_EQ(wire.read_answer().status, 200);
    host.client->listen(ServerSettings());
    EXPECT_TRUE(host.waits_for_connections(0));
    const std::uint64_t requests = host.client->listener().requests;
    while (wire.read_answer().status == 200) {}
    stop = true;
    sender.join();
    EXPECT_EQ(host.client->listener().requests, requests);
}

// ---- beside calls -------------------------------------------------------------------------------

TEST(NetServerBesideCalls, CallsAreMadeWithAndWithoutAListener) {
    fault::Server server;
    Caller caller;
    const auto call = [&] {
        const Reply reply = caller.ask(make_post(1, server.url("/ok"), "x"));
        EXPECT_EQ(reply.status, 200) << reply.error;
    };
    const auto listening = [&](bool wanted) {
        return eventually([&] { return caller.client.listener().listening.empty() != wanted; });
    };
    call();
    for (int i = 0; i < 3; ++i) {
        caller.client.listen(at("127.0.0.1:0"));
        EXPECT_TRUE(listening(true));
        for (int j = 0; j < 20; ++j) call();
        // libcurl's clock still runs.
        const Reply reply = caller.ask(make_call(2, server.url("/never"), 50ms));
        EXPECT_EQ(reply.status, 0);
        EXPECT_NE(reply.error, "");
        caller.client.listen(ServerSettings());
        EXPECT_TRUE(listening(false));
        for (int j = 0; j < 20; ++j) call();
    }
}

TEST(NetServerBesideCalls, TheThreadSleepsWhenThereIsNothingToDo) {
    fault::Server server;
    Host host;
    Wire wire(host.port());
    Wire busy(host.port());
    busy.send(get("/busy"));
    host.wait_for(1);
    std::vector<Call> calls;
    calls.push_back(make_call(1, server.url("/hold"), 10min));
    host.client->submit(calls);
    ASSERT_TRUE(server.wait_for_held(1));
    // The thread's own processor time, while there are connections and a call that wait.
    const auto cpu = [] {
        timespec now{};
        ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
    };
    const auto before = cpu();
    pollfd nothing{wire.fd(), POLLIN, 0};
    ::poll(&nothing, 1, 500);
    EXPECT_LT(cpu() - before, 100ms);
}

// Everything at once, on one loop: clients that talk, break off and send nonsense, calls out, and
// settings that change. Under TSan this is the test of the threads' borders.
TEST(NetServerBesideCalls, EverythingAtOnce) {
    fault::Server server;
    ServerSettings settings = at("127.0.0.1:0");
    settings.max_header = 2000;
    Host host(settings);
    host.echo();
    const int port = host.port();
    constexpr int rounds = 150;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; ++t) {
        threads.emplace_back([port, t] {
            std::mt19937 random(t);
            for (int i = 0; i < rounds; ++i) {
                Wire wire(port);
                const int requests = static_cast<int>(random() % 5);
                std::string all;
                for (int j = 0; j < requests; ++j)
                    all += post("/p", std::string(random() % 500, 'x'));
                wire.send(all);
                if (random() % 4 == 0) continue;  // gone before the answers
                for (int j = 0; j < requests; ++j) EXPECT_EQ(wire.read_answer().status, 200);
                if (random() % 4 == 0) wire.send("nonsense\r\n\r\n");
                if (random() % 4 == 0) wire.reset();
            }
        });
    }
    threads.emplace_back([&] {
        for (std::uint64_t i = 0; i < 10UL * rounds; ++i) {
            std::vector<Call> calls;
            calls.push_back(make_post(i, server.url(i % 7 == 0 ? "/close" : "/ok"), "y"));
            host.client->submit(calls);
        }
    });
    threads.emplace_back([&] {
        for (unsigned i = 0; i < 50; ++i) {
            settings.max_connections = 5000 + i;
            settings.idle_timeout = std::chrono::milliseconds(60000 + i);
            host.client->listen(settings);
            EXPECT_FALSE(host.client->listener().listening.empty());
            std::this_thread::sleep_for(2ms);
        }
    });
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(eventually([&] { return host.replied == 10UL * rounds; }));
    EXPECT_EQ(host.client->stats().transport_errors, 0u);
    EXPECT_TRUE(host.waits_for_connections(0));
}

// ---- the end ------------------------------------------------------------------------------------

// Bounded by 100 ms in the contract; sanitizers and a busy machine get a multiple, a hang does not.
constexpr auto destruction_limit = 5s;

TEST(NetServerEnd, HungClientsDoNotDelayIt) {
    Host host;
    const int port = host.port();
    std::vector<Wire> wires;
    for (int i = 0; i < 300; ++i) {
        wires.emplace_back(port, 4096);
        switch (i % 3) {
            case 0:
                wires.back().send(get("/x"));
                break;
            case 1:
                wires.back().send("GET /x HT");
                break;
            default:
                break;
        }
    }
    const std::vector<HttpRequest> requests = host.wait_for(100);
    for (std::size_t i = 0; i < 50; ++i) {  // answers that are never read
        host.answer(make_answer(requests[i].id, std::string(1 << 20, 'x')));
    }
    ASSERT_TRUE(host.waits_for_connections(300));
    const auto start = Clock::now();
    host.client.reset();
    EXPECT_LT(Clock::now() - start, destruction_limit);
}

TEST(NetServerEnd, ListenersComeAndGo) {
    for (int i = 0; i < 30; ++i) {
        Host host;
        if (i % 2 == 0) host.port();
    }
}

}  // namespace
