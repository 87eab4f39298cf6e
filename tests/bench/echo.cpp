// The service that the benchmark's branches call: answers every HTTP/1.1 request with 200 and
// {"dtm_result":"SUCCESS"}, keep-alive, one thread, epoll. It parses no more than it must to find
// the end of a request, so that its CPU is not what is measured. It trusts its only client, the
// coordinator.
//
//     echo PORT        (prints "ready" when it listens; ends when its parent does)
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

constexpr std::string_view answer =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
    "{\"dtm_result\":\"SUCCESS\"}";

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

// Bytes of the first complete request in `in`, 0 when there is none yet.
std::size_t request_length(std::string_view in) {
    const auto head = in.find("\r\n\r\n");
    if (head == std::string_view::npos) return 0;
    std::size_t length = head + 4;
    for (std::size_t line = 0; line < head;) {
        const auto end = in.find("\r\n", line);
        const auto text = in.substr(line, end - line);
        constexpr std::string_view name = "content-length:";
        if (text.size() > name.size() && strncasecmp(text.data(), name.data(), name.size()) == 0)
            length += std::strtoull(text.data() + name.size(), nullptr, 10);
        line = end + 2;
    }
    return in.size() >= length ? length : 0;
}

int listen_on(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
    if (listen(fd, 1024) != 0) die("listen");
    return fd;
}

class Echo {
public:
    explicit Echo(int port) : listener_(listen_on(port)), epoll_(epoll_create1(0)) {
        if (epoll_ < 0) die("epoll_create1");
        watch(listener_);
    }

    [[noreturn]] void run() {
        epoll_event events[256];
        for (;;) {
            const int n = epoll_wait(epoll_, events, 256, -1);
            for (int i = 0; i < n; ++i) {
                if (events[i].data.fd == listener_)
                    accept_all();
                else if (!serve(events[i].data.fd))
                    close_connection(events[i].data.fd);
            }
        }
    }

private:
    void watch(int fd) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
    }

    void accept_all() {
        for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
            const int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            watch(fd);
        }
    }

    // One read, all complete requests in it, one write. False when the connection is over.
    bool serve(int fd) {
        const ssize_t got = recv(fd, buffer_, sizeof buffer_, 0);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0) return false;
        std::string_view in(buffer_, static_cast<std::size_t>(got));
        std::string& rest = rest_[fd];  // a request that came in pieces
        if (!rest.empty()) {
            rest.append(in);
            in = rest;
        }
        std::string out;
        while (const std::size_t length = request_length(in)) {
            out += answer;
            in.remove_prefix(length);
        }
        rest = std::string(in);
        // An answer is far smaller than the socket's buffer, and the client waits for it.
        return out.empty() ||
               send(fd, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size());
    }

    void close_connection(int fd) {
        rest_.erase(fd);
        close(fd);
    }

    int listener_;
    int epoll_;
    char buffer_[64 * 1024];
    std::unordered_map<int, std::string> rest_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: echo PORT\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static Echo echo(std::atoi(argv[1]));
    std::puts("ready");
    std::fflush(stdout);
    echo.run();
}
