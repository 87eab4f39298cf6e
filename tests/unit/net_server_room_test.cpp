// What the listener keeps for all its clients together, which has a limit.
#include "net_server_testkit.hpp"

namespace {

using namespace dtm::net;
using namespace dtm::net::test;

// Many that are each within their limits.
TEST(NetServerRoom, AllRequestsTogetherHaveALimit) {
    ServerSettings settings;
    settings.max_buffered = 10000;
    Host host(settings);
    const int port = host.port();
    std::vector<Wire> wires;
    for (std::size_t i = 0; i < 3; ++i) {
        wires.emplace_back(port);
        wires.back().send(post("/", std::string(3000, 'x')));
        host.wait_for(i + 1);
    }
    Wire refused(port);
    refused.send(post("/", std::string(3000, 'x')));
    expect_refusal(refused, 503, "too many requests wait for their answer; try again later");
    // As soon as one is answered, or gone, there is room.
    host.answer(make_answer(host.requests[0].id, "0"));
    EXPECT_EQ(wires[0].read_answer().body, "0");
    for (int i = 0; i < 2; ++i) {
        wires[0].send(post("/", std::string(3000, 'x')));
        host.answer(make_answer(host.wait_for(4 + i).back().id, "again"));
        EXPECT_EQ(wires[0].read_answer().body, "again");
    }
    for (Wire& wire : wires) wire.reset();
    EXPECT_TRUE(host.waits_for_connections(0));
    Wire large(port);
    large.send(post("/", std::string(9000, 'x')));
    EXPECT_EQ(host.wait_for(6).back().body.size(), 9000u);
}

// What counts is the memory they take.
TEST(NetServerRoom, RequestsCountWithTheirRoom) {
    constexpr std::size_t size = 1'000'000;
    Host host;
    const int port = host.port();
    const std::string text = post("/", std::string(size, 'x'));
    Wire wire(port);
    // Some of it has room for a few times as much at most; much of it has room for all.
    wire.send(std::string_view(text).substr(0, size / 10));
    EXPECT_TRUE(eventually([&] { return host.client->buffered() > size / 11; }));
    EXPECT_LT(host.client->buffered(), size / 2);
    wire.send(std::string_view(text).substr(size / 10, size / 2));
    EXPECT_TRUE(eventually([&] { return host.client->buffered() >= size; }));
    wire.send(std::string_view(text).substr(size / 10 + size / 2));
    host.wait_for(1);
    EXPECT_TRUE(eventually([&] {
        const std::size_t buffered = host.client->buffered();
        return buffered >= size && buffered < size + 100;
    })) << host.client->buffered();
    Wire shouts(port);
    shouts.send(std::string(10000, 'M') + " / HTTP/1.1\r\n\r\n");
    EXPECT_EQ(host.wait_for(2)[1].method.size(), 10000u);
    EXPECT_TRUE(eventually([&] { return host.client->buffered() >= size + 10000; }));
}

// What came early, and what a pipeline was, is not kept for ever.
TEST(NetServerRoom, ConnectionsThatAreIdleKeepNothing) {
    Host host;
    Wire wire(host.port());
    wire.send(get("/1") + post("/2", std::string(5000, 'x')));
    host.wait_for(1);
    EXPECT_TRUE(eventually([&] { return host.client->buffered() > 5000; }));
    for (std::size_t i = 0; i < 2; ++i) {
        host.answer(make_answer(host.wait_for(i + 1)[i].id, "yes"));
        EXPECT_EQ(wire.read_answer().status, 200);
    }
    EXPECT_TRUE(eventually([&] { return host.client->buffered() == 0; }));
    wire.send("GET /" + std::string(5000, 'x'));
    EXPECT_TRUE(eventually([&] { return host.client->buffered() > 5000; }));
    wire.send(" HTTP/1.1\r\n\r\n");
    host.answer(make_answer(host.wait_for(3)[2].id, "yes"));
    EXPECT_EQ(wire.read_answer().status, 200);
    EXPECT_TRUE(eventually([&] { return host.client->buffered() == 0; }));
}

// Answers that nobody reads count as well, wherever they are.
TEST(NetServerRoom, AnswersThatAreNotReadCount) {
    constexpr std::size_t size = 24UL << 20;
    ServerSettings settings;
    settings.max_buffered = size / 2;
    Host host(settings);
    const int port = host.port();
    Wire slow(port, 4096);
    slow.send(get("/list"));
    const std::uint64_t id = host.wait_for(1)[0].id;
    EXPECT_LT(host.client->buffered(), 1000u);
    host.answer(make_answer(id, std::string(size, 'x')));
    EXPECT_GT(host.client->buffered(), size / 2);
    EXPECT_TRUE(eventually([&] { return host.client->buffered() < size + 1000; }));
    for (const std::string& request : {get("/small"), post("/small", "abc")}) {
        Wire refused(port);
        refused.send(request);
        expect_refusal(refused, 503, "too many requests wait for their answer; try again later");
    }
    // As soon as it has been read there is room.
    EXPECT_EQ(slow.read_answer().body.size(), size);
    EXPECT_TRUE(eventually([&] { return host.client->buffered() == 0; }));
    slow.send(get("/again"));
    host.answer(make_answer(host.wait_for(2)[1].id, "again"));
    EXPECT_EQ(slow.read_answer().body, "again");
    // What nobody waits for is counted no longer.
    host.answer(make_answer(id, std::string(size, 'x')));
    EXPECT_TRUE(eventually([&] { return host.client->buffered() == 0; }));
}

// What the process has taken into its own books and will answer later.
TEST(NetServerRoom, RequestsThatNobodyKeepsLeaveRoom) {
    ServerSettings settings;
    settings.max_buffered = 10000;
    Host host(settings);
    const int port = host.port();
    std::vector<Wire> wires;
    for (std::size_t i = 0; i < 10; ++i) {
        wires.emplace_back(port);
        wires.back().send(post("/", std::string(3000, 'x')));
        HttpAnswer later = make_answer(host.wait_for(i + 1).back().id, "never sent");
        later.kind = HttpAnswer::Kind::later;
        host.answer(later);
        host.answer(later);  // once more is nothing more
    }
    for (std::size_t i = 0; i < 10; ++i) {
        host.answer(make_answer(host.requests[i].id, std::to_string(i)));
        EXPECT_EQ(wires[i].read_answer().body, std::to_string(i));
    }
    // Nothing was given back twice.
    for (std::size_t i = 0; i < 3; ++i) {
        wires[i].send(post("/", std::string(3000, 'x')));
        host.wait_for(11 + i);
    }
    wires[3].send(post("/", std::string(3000, 'x')));
    expect_refusal(wires[3], 503, "too many requests wait for their answer; try again later");
}

}  // namespace
