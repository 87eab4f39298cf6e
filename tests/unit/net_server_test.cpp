// The listener: what clients may send and what they get.
#include "net_server_testkit.hpp"

namespace {

using namespace dtm::net;
using namespace dtm::net::test;
using namespace std::chrono_literals;

TEST(NetServer, RequestsCarryMethodTargetAndBody) {
    Host host;
    Wire wire(host.port());
    const auto before = Clock::now();
    wire.send(post("/api/dtmsvr/submit?a=%20b", R"({"gid":"g1"})", "X-More: 1\r\n"));
    const HttpRequest request = host.wait_for(1)[0];
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.target, "/api/dtmsvr/submit?a=%20b");
    EXPECT_EQ(request.body, R"({"gid":"g1"})");
    EXPECT_NE(request.id, 0u);
    EXPECT_GE(request.received, before);
    EXPECT_LE(request.received, Clock::now());
    host.answer(make_answer(request.id, R"({"dtm_result":"SUCCESS"})"));
    const Answer answer = wire.read_answer();
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, R"({"dtm_result":"SUCCESS"})");
    EXPECT_EQ(answer.headers.at("content-type"), "application/json; charset=utf-8");
    EXPECT_EQ(answer.headers.at("content-length"), "24");
    EXPECT_EQ(answer.headers.at("server"), "dtm_pg");
    EXPECT_TRUE(answer.headers.at("date").ends_with(" GMT")) << answer.headers.at("date");
    EXPECT_FALSE(answer.headers.contains("connection"));
    const ListenerState state = host.client->listener();
    EXPECT_EQ(state.connections, 1u);
    EXPECT_EQ(state.accepted, 1u);
    EXPECT_EQ(state.requests, 1u);
    EXPECT_EQ(state.refused, 0u);
    EXPECT_EQ(state.error, "");
}

TEST(NetServer, StatusTypeAndLocationAreThoseOfTheAnswer) {
    Host host;
    Wire wire(host.port());
    wire.send(get("/api/dtmsvr/query/"));
    HttpAnswer answer = make_answer(host.wait_for(1)[0].id, "moved", 301);
    answer.content_type = "text/plain";
    answer.location = "/api/dtmsvr/query";
    host.answer(answer);
    const Answer seen = wire.read_answer();
    EXPECT_EQ(seen.status, 301);
    EXPECT_EQ(seen.headers.at("content-type"), "text/plain");
    EXPECT_EQ(seen.headers.at("location"), "/api/dtmsvr/query");
    EXPECT_EQ(seen.body, "moved");

    // A location made of what a client sent adds no header.
    wire.send(get("/x"));
    answer = make_answer(host.wait_for(2)[1].id, "", 307);
    answer.location = "/y\r\nSet-Cookie: a";
    host.answer(answer);
    const Answer other = wire.read_answer();
    EXPECT_EQ(other.status, 307);
    EXPECT_FALSE(other.headers.contains("location"));
    EXPECT_FALSE(other.headers.contains("set-cookie"));
}

TEST(NetServer, EveryStatusHasALine) {
    Host host;
    Wire wire(host.port());
    std::size_t count = 0;
    for (const unsigned status : {200u, 404u, 409u, 425u, 500u, 599u}) {
        wire.send(get("/x"));
        host.answer(make_answer(host.wait_for(++count).back().id, "b", status));
        EXPECT_EQ(wire.read_answer().status, static_cast<int>(status));
    }
}

// ---- connections --------------------------------------------------------------------------------

TEST(NetServer, ConnectionsAreKept) {
    Host host;
    host.echo();
    Wire wire(host.port());
    for (int i = 0; i < 100; ++i) {
        const std::string body = std::to_string(i);
        EXPECT_EQ(wire.ask(post("/p", body)).body, "POST /p " + body);
    }
    EXPECT_EQ(host.client->listener().accepted, 1u);
    EXPECT_EQ(host.client->listener().requests, 100u);
}

TEST(NetServer, TheClientMayAskToClose) {
    Host host;
    host.echo();
    Wire wire(host.port());
    const Answer answer = wire.ask(get("/p", "Connection: close\r\n"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers.at("connection"), "close");
    EXPECT_TRUE(wire.closes());
    wire.close();
    EXPECT_TRUE(host.waits_for_connections(0));
}

TEST(NetServer, Http10ClosesUnlessItAsksToStay) {
    Host host;
    host.echo();
    Wire closing(host.port());
    EXPECT_EQ(closing.ask("GET /a HTTP/1.0\r\n\r\n").body, "GET /a ");
    EXPECT_TRUE(closing.closes());

    Wire staying(host.port());
    for (int i = 0; i < 3; ++i) {
        const Answer answer =
            staying.ask("POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx");
        EXPECT_EQ(answer.body, "POST /a x");
        EXPECT_EQ(answer.headers.at("connection"), "keep-alive");
    }
}

TEST(NetServer, HeadIsAMethodAndGetsNoBody) {
    Host host;
    host.echo();
    Wire wire(host.port());
    wire.send("HEAD /api/ping HTTP/1.1\r\n\r\n");
    const Answer answer = wire.read_answer(false);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers.at("content-length"), "15");  // "HEAD /api/ping "
    EXPECT_EQ(wire.ask(get("/after")).body, "GET /after ");
}

TEST(NetServer, LineEndsBetweenRequestsAreSkipped) {
    Host host;
    host.echo();
    Wire wire(host.port());
    EXPECT_EQ(wire.ask("\r\n" + post("/a", "1") + "\r\n").status, 200);
    EXPECT_EQ(wire.ask("\r\n\r\n" + get("/b")).body, "GET /b ");
}

// ---- pipelining ---------------------------------------------------------------------------------

TEST(NetServer, PipelinedRequestsAreAnsweredInOrder) {
    Host host;
    Wire wire(host.port());
    std::string all;
    constexpr std::size_t count = 50;
    for (std::size_t i = 0; i < count; ++i) all += post("/p", std::to_string(i));
    wire.send(all);
    for (std::size_t i = 0; i < count; ++i) {
        const HttpRequest request = host.wait_for(i + 1)[i];
        EXPECT_EQ(request.body, std::to_string(i));
        EXPECT_EQ(host.requests.size(), i + 1);  // one of a connection at a time
        host.answer(make_answer(request.id, "a" + request.body));
    }
    for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(wire.read_answer().body, "a" + std::to_string(i));
    }
}

// More than is kept here: the rest waits in the kernel, and comes.
TEST(NetServer, PipelinesMayBeLongerThanTheBuffer) {
    Host host;
    host.echo();
    Wire wire(host.port());
    constexpr int count = 3000;
    std::thread sender([&wire] {
        std::string all;
        for (int i = 0; i < count; ++i) all += post("/p", std::string(300, 'x'));
        wire.send(all);
    });
    for (int i = 0; i < count; ++i) ASSERT_EQ(wire.read_answer().status, 200) << i;
    sender.join();
}

TEST(NetServer, PipelinedRequestsOfAClientThatEndedItsSideAreAnswered) {
    Host host;
    host.echo();
    Wire wire(host.port());
    wire.send(get("/1") + get("/2") + get("/3"));
    wire.finish();
    for (const char* path : {"/1", "/2", "/3"}) {
        EXPECT_EQ(wire.read_answer().body, std::string("GET ") + path + " ");
    }
    EXPECT_TRUE(wire.closes());
}

TEST(NetServer, ItIsToldWhoseClientIsGone) {
    Host host;
    Wire stays(host.port()), leaves(host.port()), answered(host.port());
    const std::map<std::string, Wire*> wires{{"/s", &stays}, {"/l", &leaves}, {"/a", &answered}};
    for (const auto& [target, wire] : wires) wire->send(get(target));
    std::map<std::string, std::uint64_t> ids;
    for (const HttpRequest& request : host.wait_for(3)) ids[request.target] = request.id;
    host.answer(make_answer(ids["/a"], "a"));
    EXPECT_EQ(answered.read_answer().body, "a");
    answered.reset();
    leaves.reset();
    std::vector<std::uint64_t> gone;
    EXPECT_TRUE(eventually([&] {
        host.client->take_gone(gone);
        return !gone.empty();
    }));
    EXPECT_TRUE(host.waits_for_connections(1));
    host.client->take_gone(gone);
    EXPECT_EQ(gone, std::vector<std::uint64_t>{ids["/l"]});
    host.answer(make_answer(ids["/l"], "l"));
    host.answer(make_answer(ids["/s"], "s"));
    EXPECT_EQ(stays.read_answer().body, "s");
}

// It may take as long as it takes, and need more than one write.
TEST(NetServer, AClientThatEndedItsSideGetsItsAnswer) {
    ServerSettings settings;
    settings.idle_timeout = 100ms;
    Host host(settings);
    const int port = host.port();
    constexpr std::size_t size = 16UL << 20;
    Wire small(port);
    Wire large(port, 4096);
    small.send(get("/small"));
    const std::uint64_t first = host.wait_for(1)[0].id;
    large.send(get("/large"));
    const std::uint64_t second = host.wait_for(2)[1].id;
    small.finish();
    large.finish();
    // Longer than any deadline of a connection: two that close after a second, one after another.
    for (int i = 0; i < 2; ++i) {
        Wire other(port);
        other.send("nonsense\r\n\r\n");
        EXPECT_EQ(other.read_answer().status, 400);
        EXPECT_TRUE(host.waits_for_connections(2));
    }
    host.answer(make_answer(first, "late"));
    host.answer(make_answer(second, std::string(size, 'x')));
    EXPECT_EQ(small.read_answer().body, "late");
    EXPECT_TRUE(small.closes());
    EXPECT_EQ(large.read_answer().body.size(), size);
    EXPECT_TRUE(large.closes());
    EXPECT_TRUE(host.waits_for_connections(0));
}

// ---- bodies -------------------------------------------------------------------------------------

constexpr std::string_view chunked_head =
    "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n";

TEST(NetServer, ChunkedBodiesAreRead) {
    Host host;
    host.echo();
    Wire wire(host.port());
    EXPECT_EQ(wire.ask(std::string(chunked_head) +
                       "3\r\nabc\r\n1;name=value\r\nd\r\n00\r\nX: trailer\r\n\r\n")
                  .body,
              "POST /c abcd");
    EXPECT_EQ(wire.ask(std::string(chunked_head) + "0\r\n\r\n").body, "POST /c ");
}

// Beast has an assertion that the first of these would fail.
TEST(NetServer, RequestsMayComeByteByByte) {
    Host host;
    host.echo();
    Wire wire(host.port());
    const std::string requests[] = {
        std::string(chunked_head) + "0\r\n\r\n",
        std::string(chunked_head) + "2\r\nab\r\nb\r\n0123456789a\r\n0\r\nX: y\r\n\r\n",
        post("/c", "0123456789", "Accept: */*\r\n"),
    };
    for (const std::string& request : requests) {
        for (const char c : request) {
            ASSERT_TRUE(wire.send(std::string_view(&c, 1)));
            // So that the pieces stay pieces.
            ASSERT_TRUE(eventually([&wire] {
                int unsent = 0;
                tcp_info info{};
                socklen_t size = sizeof info;
                ::getsockopt(wire.fd(), IPPROTO_TCP, TCP_INFO, &info, &size);
                unsent = static_cast<int>(info.tcpi_unacked);
                return unsent == 0;
            }));
        }
        EXPECT_EQ(wire.read_answer().status, 200);
    }
}

TEST(NetServer, ExpectationsAreMet) {
    Host host;
    host.echo();
    Wire wire(host.port());
    const std::string head =
        "POST /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    for (int i = 0; i < 2; ++i) {
        wire.send(head);
        EXPECT_EQ(wire.read_answer().status, 100);
        EXPECT_EQ(wire.ask("body").body, "POST /e body");
        // Whoever sends the body without waiting needs no permission.
        EXPECT_EQ(wire.ask(head + "body").body, "POST /e body");
    }
}

TEST(NetServer, LargeBodiesComeAndGo) {
    Host host;
    host.echo();
    Wire wire(host.port());
    std::string body(1 << 20, 'x');
    for (std::size_t i = 0; i < body.size(); i += 1000) body[i] = static_cast<char>('a' + i % 26);
    EXPECT_EQ(wire.ask(post("/l", body)).body, "POST /l " + body);
    EXPECT_EQ(wire.ask(get("/after")).body, "GET /after ");
}

// The kernel does not take it at once.
TEST(NetServer, AnswersMayBeLargerThanAnySocketBuffer) {
    Host host;
    Wire wire(host.port(), 4096);
    wire.send(get("/all") + get("/next"));
    std::string body(24UL << 20, 'x');
    body += "end";
    host.answer(make_answer(host.wait_for(1)[0].id, body));
    const Answer answer = wire.read_answer();
    EXPECT_EQ(answer.body.size(), body.size());
    EXPECT_TRUE(answer.body.ends_with("xend"));
    host.answer(make_answer(host.wait_for(2)[1].id, "next"));
    EXPECT_EQ(wire.read_answer().body, "next");
}

// ---- answers ------------------------------------------------------------------------------------

TEST(NetServer, AnswersMayComeInAnyOrder) {
    Host host;
    const int port = host.port();
    std::vector<Wire> wires;
    for (int i = 0; i < 20; ++i) {
        wires.emplace_back(port);
        wires.back().send(get("/" + std::to_string(i)));
    }
    std::vector<HttpRequest> requests = host.wait_for(20);
    std::ranges::sort(requests, std::greater(), &HttpRequest::target);
    std::vector<HttpAnswer> answers;
    for (const HttpRequest& request : requests) {
        answers.push_back(make_answer(request.id, request.target));
    }
    host.client->answer(answers);
    EXPECT_TRUE(answers.empty());
    for (std::size_t i = 0; i < wires.size(); ++i) {
        EXPECT_EQ(wires[i].read_answer().body, "/" + std::to_string(i));
    }
}

TEST(NetServer, AnswersThatNobodyWaitsForAreDropped) {
    Host host;
    Wire wire(host.port());
    wire.send(get("/1"));
    const std::uint64_t id = host.wait_for(1)[0].id;
    for (const std::uint64_t wrong :
         {std::uint64_t{0}, id + 1, id + (std::uint64_t{1} << 32), ~std::uint64_t{0}}) {
        host.answer(make_answer(wrong, "wrong"));
    }
    host.answer(make_answer(id, "right"));
    host.answer(make_answer(id, "twice"));
    EXPECT_EQ(wire.read_answer().body, "right");
    wire.send(get("/2"));
    host.answer(make_answer(id, "old"));
    host.answer(make_answer(host.wait_for(2)[1].id, "new"));
    EXPECT_EQ(wire.read_answer().body, "new");
}

TEST(NetServer, ReadyFdIsReadableOnlyWhileSomethingWaits) {
    Host host;
    Wire wire(host.port());
    wire.send(get("/1"));
    pollfd wait{host.client->ready_fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&wait, 1, 30000), 1);
    std::vector<Reply> replies;
    host.client->drain(replies);  // whoever takes replies does not hide the request
    ASSERT_EQ(::poll(&wait, 1, 0), 1);
    host.client->take_requests(host.requests);
    EXPECT_EQ(host.requests.size(), 1u);
    EXPECT_EQ(::poll(&wait, 1, 0), 0);
}

// What comes while nobody looks is handed over at once.
TEST(NetServer, RequestsAreHandedOverTogether) {
    Host host;
    const int port = host.port();
    std::vector<Wire> wires;
    for (int i = 0; i < 100; ++i) {
        wires.emplace_back(port);
        wires.back().send(get("/x"));
    }
    ASSERT_TRUE(eventually([&] { return host.client->listener().requests == 100; }));
    std::vector<HttpRequest> requests;
    ASSERT_TRUE(eventually([&] {
        host.client->take_requests(requests);
        return requests.size() == 100;
    }));
    pollfd wait{host.client->ready_fd(), POLLIN, 0};
    EXPECT_EQ(::poll(&wait, 1, 0), 0);
}

}  // namespace
