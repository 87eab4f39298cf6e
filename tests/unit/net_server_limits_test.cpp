// The listener against clients that send too much, too slowly, nothing at all, or nonsense.
#include "net_server_testkit.hpp"

#include <sys/resource.h>

#include <random>

namespace {

using namespace dtm::net;
using namespace dtm::net::test;
using namespace std::chrono_literals;

ServerSettings small_limits() {
    ServerSettings settings;
    settings.max_header = 1000;
    settings.max_body = 2000;
    return settings;
}

TEST(NetServerLimits, HeadersHaveALimit) {
    Host host(small_limits());
    const int port = host.port();
    const std::string message = "the header of the request is larger than 1000 bytes";
    std::string many = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 300; ++i) many += "A: b\r\n";
    const std::string requests[] = {
        get("/" + std::string(2000, 'x')),
        get("/", "X-Long: " + std::string(2000, 'x') + "\r\n"),
        many,                     // the end never comes
        many + "\r\n",            // each line is short
        std::string(70000, 'x'),  // no line at all
        "GET /" + std::string(990, 'x') + " HTTP/1.1\r\nA: bbbbbbbb\r\n\r\n",
    };
    for (const std::string& request : requests) {
        Wire wire(port);
        wire.send(request);
        expect_refusal(wire, 431, message);
    }
    // Short lines that come one by one.
    Wire wire(port);
    wire.send("GET / HTTP/1.1\r\n");
    for (int i = 0; i < 300 && wire.send("A: b\r\n"); ++i) {}
    expect_refusal(wire, 431, message);
    EXPECT_EQ(host.client->listener().refused, std::size(requests) + 1);
    EXPECT_EQ(host.client->listener().requests, 0u);

    host.echo();
    Wire good(port);
    const std::string path = "/" + std::string(900, 'x');
    EXPECT_EQ(good.ask(get(path)).body, "GET " + path + " ");
}

TEST(NetServerLimits, BodiesHaveALimit) {
    Host host(small_limits());
    host.echo();
    const int port = host.port();
    const std::string message = "the body of the request is larger than 2000 bytes";
    const std::string chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    const std::string piece = "100\r\n" + std::string(256, 'x') + "\r\n";
    std::string pieces;
    for (int i = 0; i < 9; ++i) pieces += piece;
    const std::string requests[] = {
        post("/", std::string(2001, 'x')),
        "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2001\r\n\r\n",
        chunked + "fffffffffff\r\n",
        chunked + pieces,
    };
    for (const std::string& request : requests) {
        Wire wire(port);
        wire.send(request);
        expect_refusal(wire, 413, message);
    }
    // A line of a chunked body has the limit of a header.
    Wire endless(port);
    endless.send(chunked + "1;" + std::string(2000, 'x'));
    expect_refusal(endless, 431, "the header of the request is larger than 1000 bytes");

    Wire good(port);
    EXPECT_EQ(good.ask(post("/", std::string(2000, 'x'))).body.size(), 2007u);
}

// The client gets its answer although most of what it sends is never read.
TEST(NetServerLimits, RefusalsReachAClientThatGoesOnSending) {
    Host host(small_limits());
    Wire wire(host.port());
    const std::string body(1 << 20, 'x');
    std::thread sender([&] { wire.send(post("/", body)); });
    EXPECT_EQ(wire.read_answer().status, 413);
    sender.join();
}

TEST(NetServerLimits, WhatIsNoHttpIsRefused) {
    Host host;
    const int port = host.port();
    const char* const requests[] = {
        "hello\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
        "GET / HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\nA: b\n\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n",
    };
    for (const char* request : requests) {
        Wire wire(port);
        wire.send(request);
        const Answer answer = wire.read_answer();
        EXPECT_EQ(answer.status, 400) << request;
        EXPECT_TRUE(answer.body.starts_with(R"({"message":"this is no HTTP/1.1 request: )"))
            << answer.body;
        EXPECT_TRUE(wire.closes());
    }
    Wire wire(port);
    wire.send("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    expect_refusal(wire, 501, "of the transfer encodings only chunked is understood");
    EXPECT_EQ(host.client->listener().requests, 0u);
}

// A request before the nonsense is answered first.
TEST(NetServerLimits, RefusalsKeepTheirPlaceInAPipeline) {
    Host host;
    Wire wire(host.port());
    wire.send(get("/good") + "nonsense\r\n\r\n");
    host.answer(make_answer(host.wait_for(1)[0].id, "good"));
    EXPECT_EQ(wire.read_answer().body, "good");
    EXPECT_EQ(wire.read_answer().status, 400);
    EXPECT_TRUE(wire.closes());
}

// ---- time ---------------------------------------------------------------------------------------

TEST(NetServerLimits, SlowRequestsEnd) {
    ServerSettings settings;
    settings.request_timeout = 300ms;
    Host host(settings);
    const int port = host.port();
    Wire header(port);
    Wire body(port);
    Wire trickle(port);
    header.send("GET / HT");
    body.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n012");
    // Bytes that keep coming do not prolong it.
    trickle.send("GET / HTTP/1.1\r\n");
    std::atomic<bool> stop{false};
    std::thread sender([&] {
        while (!stop && trickle.send("A")) std::this_thread::sleep_for(10ms);
    });
    for (Wire* wire : {&header, &body, &trickle}) {
        EXPECT_EQ(wire->read_answer().status, 408);
    }
    stop = true;
    sender.join();
    EXPECT_TRUE(header.closes());
    EXPECT_TRUE(body.closes());
    EXPECT_EQ(host.client->listener().refused, 3u);
    EXPECT_TRUE(host.waits_for_connections(0));  // that of the trickle, too
}

TEST(NetServerLimits, IdleConnectionsCloseQuietly) {
    ServerSettings settings;
    settings.idle_timeout = 300ms;
    Host host(settings);
    host.echo();
    const int port = host.port();
    Wire never(port);
    Wire once(port);
    EXPECT_EQ(once.ask(get("/")).status, 200);
    EXPECT_TRUE(never.closes());
    EXPECT_TRUE(once.closes());
    EXPECT_EQ(host.client->listener().refused, 0u);
    EXPECT_TRUE(host.waits_for_connections(0));
}

// As long as the process works on a request there is no limit: wait_result takes its time.
TEST(NetServerLimits, WaitingForAnAnswerIsNotIdle) {
    ServerSettings settings;
    settings.idle_timeout = settings.request_timeout = 100ms;
    Host host(settings);
    const int port = host.port();
    Wire patient(port);
    patient.send(get("/"));
    const std::uint64_t id = host.wait_for(1)[0].id;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(Wire(port).closes());  // each waits for a timeout
    host.answer(make_answer(id, "late"));
    EXPECT_EQ(patient.read_answer().body, "late");
}

TEST(NetServerLimits, ClientsThatDoNotReadAreLeft) {
    ServerSettings settings;
    settings.request_timeout = 300ms;
    Host host(settings);
    Wire wire(host.port(), 4096);
    wire.send(get("/"));
    host.answer(make_answer(host.wait_for(1)[0].id, std::string(64UL << 20, 'x')));
    EXPECT_TRUE(host.waits_for_connections(0));
}

// However steadily they read: a sixteenth of this takes longer than they have for it.
TEST(NetServerLimits, AnswersThatAreReadSlowlyEnd) {
    constexpr std::size_t size = 64UL << 20;
    ServerSettings settings;
    settings.request_timeout = 400ms;
    Host host(settings);
    Wire wire(host.port());
    wire.send(get("/"));
    host.answer(make_answer(host.wait_for(1)[0].id, std::string(size, 'x')));
    std::size_t got = 0;
    while (wire.read_more()) {
        got += std::exchange(wire.input, {}).size();
        std::this_thread::sleep_for(10ms);  // 64 KiB each time
    }
    EXPECT_LT(got, size);
    EXPECT_TRUE(host.waits_for_connections(0));
}

// A client that closes takes its connection with it; while an answer is due, when that has gone or
// the connection is reset. Before, nothing tells it from one that sends nothing more and waits.
TEST(NetServerLimits, ClientsThatAreGoneAreNoticed) {
    Host host;
    const int port = host.port();
    Wire idle(port);
    Wire reading(port);
    Wire closed(port);
    Wire reset(port);
    reading.send("GET / HTTP/1.1\r\n");
    closed.send(get("/closed"));
    reset.send(get("/reset"));
    const std::vector<HttpRequest> requests = host.wait_for(2);
    EXPECT_TRUE(host.waits_for_connections(4));
    idle.close();
    reading.close();
    closed.close();
    reset.reset();
    EXPECT_TRUE(host.waits_for_connections(1));
    for (const HttpRequest& request : requests) host.answer(make_answer(request.id, "too late"));
    EXPECT_TRUE(host.waits_for_connections(0));
    // The places are taken by others, who do not get these answers.
    Wire other(port);
    other.send(get("/other"));
    host.answer(make_answer(host.wait_for(3)[2].id, "other"));
    EXPECT_EQ(other.read_answer().body, "other");
}

// Who has closed is told from who waits by its kernel, which remembers it for a minute; here for a
// second.
TEST(NetServerLimits, ClientsThatSendNothingMoreAreAskedWhetherTheyWait) {
    ServerSettings settings;
    settings.probe_interval = 1s;
    Host host(settings);
    const int port = host.port();
    Wire half(port);
    Wire closed(port);
    half.send(get("/half"));
    const std::uint64_t waits = host.wait_for(1)[0].id;
    closed.send(get("/closed"));
    const std::uint64_t gone = host.wait_for(2)[1].id;
    const int second = 1;
    ::setsockopt(closed.fd(), IPPROTO_TCP, TCP_LINGER2, &second, sizeof second);
    half.finish();
    closed.close();
    std::vector<std::uint64_t> ids;
    EXPECT_TRUE(eventually([&] {
        host.client->take_gone(ids);
        return !ids.empty();
    }));
    EXPECT_EQ(ids, std::vector<std::uint64_t>{gone});
    host.answer(make_answer(waits, "late"));
    EXPECT_EQ(half.read_answer().body, "late");
}

// ---- numbers ------------------------------------------------------------------------------------

TEST(NetServerLimits, ConnectionsAreCapped) {
    ServerSettings settings;
    settings.max_connections = 3;
    Host host(settings);
    host.echo();
    const int port = host.port();
    std::vector<Wire> wires;
    for (int i = 0; i < 3; ++i) {
        wires.emplace_back(port);
        EXPECT_EQ(wires.back().ask(get("/")).status, 200);
    }
    Wire refused(port);
    EXPECT_TRUE(refused.closes());
    EXPECT_EQ(wires[0].ask(get("/")).status, 200);
    EXPECT_EQ(host.client->listener().refused, 1u);
    wires.pop_back();
    EXPECT_TRUE(host.waits_for_connections(2));
    EXPECT_EQ(Wire(port).ask(get("/")).status, 200);
}

// Most of those that send nothing more have closed, and would keep others out until their answers
// come.
TEST(NetServerLimits, ClientsThatSendNothingMoreMakeRoom) {
    ServerSettings settings;
    settings.max_connections = 3;
    Host host(settings);
    const int port = host.port();
    const auto is_let_in = [port] { return Wire(port).ask("nonsense\r\n\r\n").status == 400; };
    std::vector<Wire> wires;
    std::vector<std::uint64_t> ids;
    for (std::size_t i = 0; i < 3; ++i) {
        wires.emplace_back(port);
        wires.back().send(get("/wait"));
        ids.push_back(host.wait_for(i + 1).back().id);
    }
    EXPECT_FALSE(is_let_in());
    wires[0].close();
    EXPECT_TRUE(eventually(is_let_in));
    EXPECT_TRUE(host.waits_for_connections(2));
    Wire idle(port);
    EXPECT_TRUE(host.waits_for_connections(3));
    wires[1].finish();
    EXPECT_TRUE(eventually(is_let_in));
    EXPECT_TRUE(wires[1].closes());
    std::vector<std::uint64_t> gone;
    EXPECT_TRUE(eventually([&] {
        host.client->take_gone(gone);
        return gone.size() == 2;
    }));
    EXPECT_EQ(gone, std::vector<std::uint64_t>({ids[0], ids[1]}));
    // The others keep their places.
    host.answer(make_answer(ids[2], "yes"));
    EXPECT_EQ(wires[2].read_answer().body, "yes");
    EXPECT_EQ(idle.ask("nonsense\r\n\r\n").status, 400);
}

TEST(NetServerLimits, ThousandsOfConnectionsMayBeIdle) {
    Host host;
    host.echo();
    const int port = host.port();  // the listener has raised the limit of descriptors
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    EXPECT_EQ(limit.rlim_cur, limit.rlim_max);
    const std::size_t count = std::min<std::size_t>(2000, limit.rlim_cur / 2 - 200);
    std::vector<Wire> wires;
    for (std::size_t i = 0; i < count; ++i) {
        wires.emplace_back(port);
        ASSERT_TRUE(wires.back().connected());
    }
    EXPECT_TRUE(host.waits_for_connections(static_cast<std::uint32_t>(count)));
    for (std::size_t i = 0; i < count; i += 50) {
        EXPECT_EQ(wires[i].ask(post("/p", std::to_string(i))).body, "POST /p " + std::to_string(i));
    }
    wires.clear();
    EXPECT_TRUE(host.waits_for_connections(0));
}

// Without a descriptor nothing can be accepted; the connections wait, and are served later.
TEST(NetServerLimits, RunsOutOfDescriptorsAndRecovers) {
    Host host;
    host.echo();
    const int port = host.port();
    std::vector<Wire> wires(5);
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    const int next = ::dup(wires[0].fd());  // the lowest number that is free
    ::close(next);
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(next);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    for (Wire& wire : wires) wire.connect(port);
    const bool noticed = eventually([&] {
        return host.client->listener().error ==
               "accept on 127.0.0.1:" + std::to_string(port) + ": Too many open files";
    });
    ::setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(noticed) << host.client->listener().error;
    for (Wire& wire : wires) EXPECT_EQ(wire.ask(get("/")).status, 200);
    EXPECT_EQ(host.client->listener().error, "");
}

// ---- nonsense -----------------------------------------------------------------------------------

// Bytes that are random, and requests with random faults, in random pieces. Whatever they are, the
// listener goes on.
TEST(NetServerLimits, RandomBytesHarmNobody) {
    Host host(small_limits());
    host.echo();
    const int port = host.port();
    std::mt19937 random(20240607);
    const std::string seeds[] = {
        get("/api/dtmsvr/query?gid=1", "Connection: keep-alive\r\n"),
        post("/api/dtmsvr/submit", R"({"gid":"1","trans_type":"saga"})"),
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
        "HEAD / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    };
    for (int round = 0; round < 600; ++round) {
        std::string bytes;
        if (round % 4 == 0) {
            bytes.resize(random() % 3000);
            for (char& c : bytes) c = static_cast<char>(random());
        } else {
            for (unsigned i = 0; i <= random() % 4; ++i) bytes += seeds[random() % 4];
            for (unsigned i = 0; i < 1 + random() % 6; ++i) {
                const std::size_t at = random() % bytes.size();
                switch (random() % 3) {
                    case 0:
                        bytes[at] = static_cast<char>(random());
                        break;
                    case 1:
                        bytes.erase(at, random() % 10);
                        bytes += 'x';
                        break;
                    default:
                        bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 30));
                }
            }
        }
        Wire wire(port);
        std::string_view rest = bytes;
        while (!rest.empty()) {
            const std::string_view piece = rest.substr(0, 1 + random() % 400);
            if (!wire.send(piece)) break;
            rest.remove_prefix(piece.size());
        }
        if (random() % 2 == 0) wire.reset();
    }
    EXPECT_EQ(Wire(port).ask(get("/alive")).body, "GET /alive ");
    EXPECT_TRUE(eventually([&] { return host.client->listener().connections == 0; }));
}

// Its connection tells the client, those of the others stay.
TEST(NetServerLimits, ARequestThatNobodyAnswersEndsItsConnection) {
    Host host;
    const int port = host.port();
    Wire lost(port), kept(port);
    lost.send(get("/lost") + get("/behind"));
    HttpAnswer none = make_answer(host.wait_for(1).back().id, "never sent");
    none.kind = HttpAnswer::Kind::none;
    kept.send(get("/kept"));
    const std::uint64_t other = host.wait_for(2).back().id;
    host.answer(none);
    EXPECT_TRUE(lost.closes());
    EXPECT_EQ(lost.input, "");
    host.answer(none);  // it is gone
    host.answer(make_answer(other, "yes"));
    EXPECT_EQ(kept.read_answer().body, "yes");
    EXPECT_EQ(host.requests.size(), 2u);
}

}  // namespace
