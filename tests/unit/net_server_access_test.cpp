// Who may talk to the listener, and TLS.
#include "net_tls_testkit.hpp"

namespace {

using namespace dtm::net;
using namespace dtm::net::test;
using namespace std::chrono_literals;

// ---- the token ----------------------------------------------------------------------------------

ServerSettings with_token(std::string token) {
    ServerSettings settings;
    settings.listen = "127.0.0.1:0";
    settings.token = std::move(token);
    return settings;
}

std::string bearer(std::string_view token) {
    return "Authorization: Bearer " + std::string(token) + "\r\n";
}

TEST(NetServerToken, IsAskedFor) {
    Host host(with_token("s3cret"));
    host.echo();
    Wire wire(host.port());
    const std::string wrong[] = {
        "",
        bearer(""),
        bearer("s3cre"),
        bearer("s3cret x"),
        bearer("S3CRET"),
        "Authorization: Basic s3cret\r\n",
        "Authorization: s3cret\r\n",
        "Authorization:\r\n",
        "Authorization: Bearers3cret\r\n",
        "X-Authorization: Bearer s3cret\r\n",
    };
    for (const std::string& header : wrong) {
        const Answer answer = wire.ask(post("/api/dtmsvr/submit", "{}", header));
        EXPECT_EQ(answer.status, 401) << header;
        EXPECT_EQ(answer.headers.at("www-authenticate"), "Bearer");
        EXPECT_TRUE(answer.body.starts_with(R"({"message":")")) << answer.body;
        EXPECT_FALSE(answer.headers.contains("connection"));
    }
    EXPECT_EQ(wire.ask(get("/x", bearer("s3cret"))).body, "GET /x ");
    EXPECT_EQ(wire.ask(get("/x", "authorization: bearer s3cret\r\n")).body, "GET /x ");
    EXPECT_EQ(host.client->listener().refused, std::size(wrong));
    EXPECT_EQ(host.client->listener().requests, 2u);
    EXPECT_EQ(host.client->listener().accepted, 1u);
}

TEST(NetServerToken, PingNeedsNone) {
    Host host(with_token("t"));
    host.echo();
    Wire wire(host.port());
    EXPECT_EQ(wire.ask(get("/api/ping")).status, 200);
    EXPECT_EQ(wire.ask(get("/api/ping?x=1")).status, 200);
    for (const char* path :
         {"/api/pings", "/api/ping/", "/api/metrics", "//api/ping", "/?/api/ping"}) {
        EXPECT_EQ(wire.ask(get(path)).status, 401) << path;
    }
}

// A pipeline of requests that are refused here is worked off like any other.
TEST(NetServerToken, RefusalsMayBePipelined) {
    Host host(with_token("t"));
    host.echo();
    Wire wire(host.port());
    std::string all;
    for (int i = 0; i < 1000; ++i) all += post("/x", "abc");
    wire.send(all + get("/y", bearer("t")));
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(wire.read_answer().status, 401);
    EXPECT_EQ(wire.read_answer().body, "GET /y ");
}

// Whoever waits for permission to send a body gets the refusal instead.
TEST(NetServerToken, IsCheckedBeforeTheBody) {
    Host host(with_token("t"));
    Wire wire(host.port());
    wire.send("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    const Answer answer = wire.read_answer();
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.headers.at("www-authenticate"), "Bearer");
    EXPECT_TRUE(wire.closes());
}

TEST(NetServerToken, ChangesForRequestsToCome) {
    Host host(with_token("old"));
    host.echo();
    Wire wire(host.port());
    EXPECT_EQ(wire.ask(get("/", bearer("old"))).status, 200);
    host.listen(with_token("new"));
    EXPECT_TRUE(eventually([&] { return wire.ask(get("/", bearer("old"))).status == 401; }));
    EXPECT_EQ(wire.ask(get("/", bearer("new"))).status, 200);
    host.listen(with_token(""));
    EXPECT_TRUE(eventually([&] { return wire.ask(get("/")).status == 200; }));
    EXPECT_EQ(host.client->listener().accepted, 1u);
}

// Who is connected when the listener closes does not get in without it.
TEST(NetServerToken, StaysWhenNobodyListensAnyMore) {
    Host host(with_token("t"));
    const int port = host.port();
    Wire half(port);
    Wire busy(port);
    Wire complete(port);
    half.send("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n");
    busy.send(get("/busy", bearer("t")) + get("/next"));
    const std::uint64_t id = host.wait_for(1)[0].id;
    ASSERT_TRUE(host.waits_for_connections(3));
    complete.send(get("/complete"));  // may be read before, or by the end
    host.client->listen(ServerSettings());
    half.send("\r\nabc");
    const int status = half.read_answer().status;
    EXPECT_TRUE(status == 401 || status == 503) << status;
    EXPECT_EQ(complete.read_answer().status, 401);
    host.answer(make_answer(id, "busy"));
    EXPECT_EQ(busy.read_answer().body, "busy");
    EXPECT_TRUE(busy.closes());
    busy.close();
    half.close();
    complete.close();
    EXPECT_TRUE(host.waits_for_connections(0));
    EXPECT_EQ(host.client->listener().requests, 1u);
}

// ---- browsers -----------------------------------------------------------------------------------

std::string from_page(std::string_view origin, std::string_view host) {
    return "POST /submit HTTP/1.1\r\nHost: " + std::string(host) +
           "\r\nOrigin: " + std::string(origin) + "\r\nContent-Length: 2\r\n\r\n{}";
}

std::string get_from(std::string_view host, std::string_view headers) {
    return "GET /all HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(headers) +
           "\r\n";
}

TEST(NetServerPages, OthersAreRefused) {
    Host host;
    host.echo();
    Wire wire(host.port());
    const std::string foreign[] = {
        from_page("http://evil.example", "127.0.0.1:36789"),
        from_page("http://127.0.0.1", "127.0.0.1:36789"),
        from_page("http://127.0.0.1:3000", "127.0.0.1:36789"),
        from_page("null", "127.0.0.1:36789"),
        from_page("http://h", ""),
        from_page("http://h\r\nOrigin: http://h", "h"),
        get("/subscribe", "Sec-Fetch-Site: cross-site\r\n"),
        get("/subscribe", "sec-fetch-site: same-site\r\n"),
        // Names that may have been made to mean this machine.
        from_page("http://evil.example:36789", "evil.example:36789"),
        from_page("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"),
        from_page("http://[::1].evil.example", "[::1.evil.example"),
        get_from("evil.example", "Sec-Fetch-Site: same-origin\r\n"),
        get_from("evil.example", "User-Agent: Mozilla/5.0 (X11)\r\n"),
    };
    for (const std::string& request : foreign) {
        const Answer answer = wire.ask(request);
        EXPECT_EQ(answer.status, 403) << request;
        EXPECT_TRUE(answer.body.starts_with(R"({"message":"a browser sent this)")) << answer.body;
        EXPECT_TRUE(answer.body.find("token") != std::string::npos) << answer.body;
    }
    const std::string own[] = {
        from_page("http://127.0.0.1:36789", "127.0.0.1:36789"),
        from_page("http://LocalHost:36789", "localhost:36789"),
        from_page("https://[::1]:36789", "[::1]:36789"),
        get_from("127.0.0.1", "Sec-Fetch-Site: same-origin\r\n"),
        get_from("10.0.0.1:1", "User-Agent: Mozilla/5.0\r\nSec-Fetch-Site: none\r\n"),
        get_from("dtm.internal:36789", "User-Agent: go-resty/2.7.0\r\n"),
    };
    for (const std::string& request : own) EXPECT_EQ(wire.ask(request).status, 200) << request;
    EXPECT_EQ(host.client->listener().refused, std::size(foreign));
    EXPECT_EQ(host.client->listener().accepted, 1u);
}

TEST(NetServerPages, TheTokenSaysWhoMay) {
    Host host(with_token("t"));
    host.echo();
    Wire wire(host.port());
    const std::string origin = "Origin: http://evil.example\r\n";
    EXPECT_EQ(wire.ask(get("/x", origin + bearer("t"))).status, 200);
    EXPECT_EQ(wire.ask(get("/x", origin)).status, 401);
}

// ---- TLS ----------------------------------------------------------------------------------------

ServerSettings with_tls(const Pair& pair) {
    ServerSettings settings;
    settings.listen = "127.0.0.1:0";
    settings.certificate = pair.certificate;
    settings.key = pair.key;
    return settings;
}

TEST(NetServerTls, CarriesRequestsAndAnswers) {
    Host host(with_tls(make_pair_for("first")));
    host.echo();
    SecureWire wire(host.port());
    ASSERT_TRUE(wire.connected());
    EXPECT_EQ(wire.peer(), "first");
    EXPECT_EQ(wire.protocol(), "http/1.1");
    for (int i = 0; i < 20; ++i) EXPECT_EQ(wire.ask(post("/p", "body"), 12), "POST /p body");
    std::string body((1 << 20) - 3, 'x');
    body += "end";
    EXPECT_EQ(wire.ask(post("/p", body), body.size() + 8), "POST /p " + body);
    EXPECT_EQ(wire.ask(get("/p", "Connection: close\r\n"), 7), "GET /p ");
    EXPECT_TRUE(wire.closes());
}

TEST(NetServerTls, AnswersPagesUnderTheNameOfTheCertificate) {
    Host host(with_tls(make_pair_for("first")));
    host.echo();
    SecureWire wire(host.port());
    EXPECT_EQ(wire.ask(from_page("https://Shop.example", "shop.example"), 15), "POST /submit {}");
}

TEST(NetServerTls, AnswersMayBeLargerThanAnySocketBuffer) {
    Host host(with_tls(make_pair_for("first")));
    SecureWire wire(host.port());
    ASSERT_TRUE(wire.send(get("/all")));
    host.answer(make_answer(host.wait_for(1)[0].id, std::string(16UL << 20, 'x') + "end"));
    const std::string body = wire.read_body((16UL << 20) + 3);
    EXPECT_EQ(body.size(), (16UL << 20) + 3);
    EXPECT_TRUE(body.ends_with("xend"));
}

TEST(NetServerTls, OldVersionsAreRefused) {
    Host host(with_tls(make_pair_for("first")));
    const int port = host.port();
    EXPECT_FALSE(SecureWire(port, TLS1_1_VERSION).connected());
    EXPECT_TRUE(SecureWire(port, TLS1_2_VERSION).connected());
    EXPECT_EQ(host.client->listener().refused, 1u);
}

TEST(NetServerTls, PlainHttpIsToldSo) {
    Host host(with_tls(make_pair_for("first")));
    const int port = host.port();
    Wire wire(port);
    const Answer answer = wire.ask(get("/api/ping"));
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.body,
              R"({"message":"this address speaks HTTPS, the request came without TLS"})");
    EXPECT_TRUE(wire.closes());
    Wire nonsense(port);
    nonsense.send(std::string(100, '\xff'));
    while (nonsense.read_more()) {}  // an alert, perhaps
    Wire nothing(port);
    nothing.close();
    EXPECT_TRUE(host.waits_for_connections(0));
}

TEST(NetServerTls, CertificatesChangeForConnectionsToCome) {
    const Pair second = make_pair_for("second");
    Host host(with_tls(make_pair_for("first")));
    host.echo();
    const int port = host.port();
    SecureWire old(port);
    host.listen(with_tls(second));
    EXPECT_TRUE(eventually([&] { return SecureWire(port).peer() == "second"; }));
    EXPECT_EQ(old.ask(get("/old"), 9), "GET /old ");
    // And to none, and back.
    ServerSettings plain;
    plain.listen = "127.0.0.1:0";
    host.listen(plain);
    EXPECT_TRUE(eventually([&] { return Wire(port).ask(get("/")).status == 200; }));
    host.listen(with_tls(second));
    EXPECT_TRUE(eventually([&] { return SecureWire(port).connected(); }));
    EXPECT_EQ(old.ask(get("/old"), 9), "GET /old ");
}

// Also not those who were connected before.
TEST(NetServerTls, TurnedOnItEndsPlainConnections) {
    const Pair pair = make_pair_for("first");
    for (const bool usable : {true, false}) {
        Host host;
        const int port = host.port();
        Wire idle(port);
        Wire half(port);
        Wire busy(port);
        half.send("POST /half HTTP/1.1\r\nContent-Length: 9\r\n\r\n123");
        busy.send(get("/busy") + get("/next"));
        const std::uint64_t id = host.wait_for(1)[0].id;
        ASSERT_TRUE(host.waits_for_connections(3));
        host.client->listen(with_tls({pair.certificate, usable ? pair.key : "nonsense"}));
        EXPECT_TRUE(idle.closes());
        EXPECT_EQ(half.read_answer().status, 503);
        EXPECT_TRUE(half.closes());
        host.answer(make_answer(id, "busy"));
        const Answer last = busy.read_answer();
        EXPECT_EQ(last.body, "busy");
        EXPECT_EQ(last.headers.at("connection"), "close");
        EXPECT_TRUE(busy.closes());
        EXPECT_EQ(host.client->listener().requests, 1u);
    }
}

// Nobody who asked for TLS is served without it.
TEST(NetServerTls, WhatCannotBeUsedIsAnError) {
    const Pair good = make_pair_for("good");
    const Pair other = make_pair_for("other");
    const struct {
        Pair pair;
        std::string error;
    } cases[] = {
        {{good.certificate, ""}, "TLS key: there is a certificate without it"},
        {{"", good.key}, "TLS certificate: there is a key without it"},
        {{"nonsense", good.key}, "TLS certificate: it cannot be read as PEM: no start line"},
        {{good.certificate, "nonsense"}, "TLS key: it cannot be read as PEM of a private key"},
        {{good.key, good.key}, "TLS certificate: it cannot be read as PEM"},
        {{good.certificate, other.key}, "TLS key: it"},
        {{good.certificate + "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
          good.key},
         "TLS certificate: its chain cannot be read as PEM"},
    };
    Host host;  // plain
    const int port = host.port();
    for (const auto& one : cases) {
        host.listen(with_tls(one.pair));
        EXPECT_TRUE(eventually([&] {
            const ListenerState state = host.client->listener();
            return state.error.starts_with(one.error) && state.listening.empty();
        })) << host.client->listener().error;
        EXPECT_FALSE(Wire(port).connected());
    }
    host.listen(with_tls(good));
    const int secure = host.port();
    EXPECT_EQ(SecureWire(secure).peer(), "good");
    EXPECT_EQ(host.client->listener().error, "");
    // What works goes on when the next one is a mistake.
    host.listen(with_tls({other.certificate, good.key}));
    EXPECT_TRUE(eventually([&] { return !host.client->listener().error.empty(); }));
    EXPECT_EQ(SecureWire(secure).peer(), "good");
}

// The password of a key is not asked for on the terminal.
TEST(NetServerTls, KeysWithPasswordAreRefused) {
    Pair pair = make_pair_for("first");
    BIO* in = BIO_new_mem_buf(pair.key.data(), static_cast<int>(pair.key.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
    BIO_free(in);
    BIO* out = BIO_new(BIO_s_mem());
    const unsigned char password[] = "password";
    PEM_write_bio_PrivateKey(out, key, EVP_aes_128_cbc(), password, 8, nullptr, nullptr);
    pair.key = text_of(out);
    EVP_PKEY_free(key);
    Host host(with_tls(pair));
    EXPECT_TRUE(eventually([&] {
        return host.client->listener().error.starts_with(
            "TLS key: it cannot be read as PEM of a private key without password");
    })) << host.client->listener().error;
}

TEST(NetServerTls, HandshakesHaveALimit) {
    ServerSettings settings = with_tls(make_pair_for("first"));
    settings.request_timeout = 200ms;
    Host host(settings);
    Wire wire(host.port());
    wire.send("\x16\x03\x01");
    EXPECT_TRUE(wire.closes());
    EXPECT_TRUE(host.waits_for_connections(0));
}

}  // namespace
