// Not a test but a measurement, so it is disabled; `make -C tests/unit bench` builds it optimised
// and runs it. A child process echoes, this process calls: the figures are calls per second and the
// share of one core that the network thread uses.
#include "net/client.hpp"

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

using namespace dtm::net;

int listen_below_ephemeral_ports(int& port) {
    for (port = 21000; port < 32000; ++port) {
        const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
        const int one = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
            ::listen(fd, 1024) == 0) {
            return fd;
        }
        ::close(fd);
    }
    return -1;
}

// Answers every request that arrives in one piece; enough for small ones on loopback.
[[noreturn]] void echo_for_ever(int listener) {
    const int epoll = ::epoll_create1(0);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = listener;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    const std::string answer =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
        "{\"dtm_result\":\"SUCCESS\"}";
    const std::string_view whole(answer.data(), answer.size());
    epoll_event events[256];
    char buffer[16384];
    for (;;) {
        const int count = ::epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; ++i) {
            const int fd = events[i].data.fd;
            if (fd == listener) {
                event.data.fd = ::accept(listener, nullptr, nullptr);
                const int one = 1;
                ::setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                ::epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
            } else if (::read(fd, buffer, sizeof buffer) <= 0 ||
                       ::write(fd, whole.data(), whole.size()) < 0) {
                ::close(fd);
            }
        }
    }
}

double seconds(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

TEST(NetSpeed, DISABLED_PostsPerSecond) {
    int port = 0;
    const int listener = listen_below_ephemeral_ports(port);
    ASSERT_GE(listener, 0);
    const pid_t child = ::fork();
    if (child == 0) echo_for_ever(listener);
    ::close(listener);

    const std::string url = "http://127.0.0.1:" + std::to_string(port) +
                            "/api/TransOut?branch_id=01&gid=gid1&op=action&trans_type=saga";
    const std::string body(100, 'x');
    const char* in_flight_text = std::getenv("IN_FLIGHT");
    const std::size_t in_flight =
        in_flight_text != nullptr ? std::strtoul(in_flight_text, nullptr, 10) : 64;
    Settings settings;
    settings.max_in_flight = settings.max_in_flight_per_host =
        static_cast<std::uint32_t>(in_flight * 2);
    Client client(settings);
    std::vector<Call> calls;
    std::vector<Reply> replies;
    const auto add_call = [&](std::uint64_t id) {
        Call call;
        call.id = id;
        call.post = true;
        call.url = url;
        call.body = body;
        static const Headers headers = std::make_shared<const std::vector<std::string>>(
            std::vector<std::string>{"Content-Type: application/json", "Accept: application/json"});
        call.headers = headers;
        calls.push_back(std::move(call));
    };
    for (std::uint64_t id = 0; id < in_flight; ++id) add_call(id);
    client.submit(calls);
    const double start = seconds(CLOCK_MONOTONIC);
    const double cpu_start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    const double main_start = seconds(CLOCK_THREAD_CPUTIME_ID);
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
    double elapsed = 0;
    while ((elapsed = seconds(CLOCK_MONOTONIC) - start) < 5) {
        pollfd wait{client.ready_fd(), POLLIN, 0};
        ::poll(&wait, 1, 1000);
        replies.clear();
        client.drain(replies);
        for (const Reply& reply : replies) {
            ++done;
            if (reply.status != 200) ++failed;
            add_call(reply.id);
        }
        client.submit(calls);
    }
    const double main_cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - main_start;
    const double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start - main_cpu;
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    std::printf(
        "%zu in flight: %.0f POST/s, %.1f us of network thread per call (%.0f %% of a core), "
        "main thread %.0f %%, %llu failed, %llu connects, max rss %ld MiB\n",
        in_flight, static_cast<double>(done) / elapsed, cpu * 1e6 / static_cast<double>(done),
        100 * cpu / elapsed, 100 * main_cpu / elapsed, static_cast<unsigned long long>(failed),
        static_cast<unsigned long long>(client.stats().connects), usage.ru_maxrss / 1024);
    EXPECT_EQ(failed, 0u);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
}

}  // namespace
