// Not tests but measurements, so they are disabled; `make -C tests/unit bench` builds them
// optimised and runs them. Clients are a child process. The figures: requests per second and what
// one of them costs the network thread, and what an idle connection costs in memory.
#include "net/client.hpp"
#include "net_tls_testkit.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace dtm::net;

int connect_to(int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
    return fd;
}

// Each connection asks again as soon as it is answered.
[[noreturn]] void ask_for_ever(int port, int connections) {
    const std::string body = R"({"gid":"g1","trans_type":"saga","steps":[],"payloads":[]})";
    const std::string request =
        "POST /api/dtmsvr/submit HTTP/1.1\r\nHost: 127.0.0.1:36789\r\nUser-Agent: "
        "go-resty/2.7.0\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    const int epoll = ::epoll_create1(0);
    for (int i = 0; i < connections; ++i) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = connect_to(port);
        ::epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        if (::write(event.data.fd, request.data(), request.size()) < 0) std::abort();
    }
    epoll_event events[256];
    char buffer[16384];
    for (;;) {
        const int count = ::epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (::read(fd, buffer, sizeof buffer) <= 0 ||
                ::write(fd, request.data(), request.size()) < 0) {
                std::abort();
            }
        }
    }
}

double seconds(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

int port_of(const Client& client) {
    std::string address;
    while ((address = client.listener().listening).empty()) std::this_thread::yield();
    return std::atoi(address.c_str() + address.rfind(':') + 1);
}

int number(const char* variable, int otherwise) {
    const char* text = std::getenv(variable);
    return text == nullptr ? otherwise : std::atoi(text);
}

TEST(NetServerSpeed, DISABLED_RequestsPerSecond) {
    const int connections = number("CONNECTIONS", 32);
    Client client{Settings()};
    ServerSettings settings;
    settings.listen = "127.0.0.1:0";
    client.listen(settings);
    const int port = port_of(client);
    const pid_t child = ::fork();
    if (child == 0) ask_for_ever(port, connections);

    std::vector<HttpRequest> requests;
    std::vector<HttpAnswer> answers;
    const double start = seconds(CLOCK_MONOTONIC);
    const double cpu_start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    const double main_start = seconds(CLOCK_THREAD_CPUTIME_ID);
    std::uint64_t done = 0;
    std::uint64_t batches = 0;
    double elapsed = 0;
    while ((elapsed = seconds(CLOCK_MONOTONIC) - start) < number("SECONDS", 5)) {
        pollfd wait{client.ready_fd(), POLLIN, 0};
        ::poll(&wait, 1, 1000);
        client.take_requests(requests);
        for (const HttpRequest& request : requests) {
            HttpAnswer answer;
            answer.id = request.id;
            answer.body = R"({"dtm_result":"SUCCESS"})";
            answers.push_back(std::move(answer));
        }
        done += requests.size();
        ++batches;
        requests.clear();
        client.answer(answers);
    }
    const double main_cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - main_start;
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start - main_cpu;
    std::printf(
        "%d connections: %.0f requests/s, %.2f us of network thread per request (%.0f %% of a "
        "core: %.0f requests/s on a whole one), main thread %.2f us, %.1f requests at a time\n",
        connections, static_cast<double>(done) / elapsed, cpu * 1e6 / static_cast<double>(done),
        100 * cpu / elapsed, static_cast<double>(done) / cpu,
        main_cpu * 1e6 / static_cast<double>(done),
        static_cast<double>(done) / static_cast<double>(batches));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

// Connects so often with `connect`, in a child process, and says what each costs here.
template <typename Connect>
std::size_t bytes_per_connection(ServerSettings settings, std::uint32_t wanted, Connect&& connect) {
    Client client{Settings()};
    settings.listen = "127.0.0.1:0";
    client.listen(settings);
    const int port = port_of(client);
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const auto count = std::min(wanted, static_cast<std::uint32_t>(limit.rlim_cur / 2 - 100));
    const std::size_t before = ::mallinfo2().uordblks;
    int done[2];
    if (::pipe(done) != 0) std::abort();
    const pid_t child = ::fork();
    if (child == 0) {
        for (std::uint32_t i = 0; i < count; ++i) connect(port);
        if (::write(done[1], "x", 1) != 1) std::abort();
        for (;;) ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(done[0], &byte, 1), 1);
    while (client.listener().connections < count) std::this_thread::yield();
    const std::size_t after = ::mallinfo2().uordblks;
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(done[0]);
    ::close(done[1]);
    return (after - before) / count;
}

TEST(NetServerSpeed, DISABLED_BytesPerIdleConnection) {
    const std::size_t plain = bytes_per_connection({}, 5000, connect_to);
    ServerSettings settings;
    const test::Pair pair = test::make_pair_for("host");
    settings.certificate = pair.certificate;
    settings.key = pair.key;
    const std::size_t tls = bytes_per_connection(settings, 500, [](int port) {
        if (!(new test::SecureWire(port))->connected()) std::abort();
    });
    std::printf("an idle connection costs %zu bytes, one of TLS %zu\n", plain, tls);
    EXPECT_LT(plain, 1000u);
    EXPECT_LT(tls, 40000u);
}

}  // namespace
