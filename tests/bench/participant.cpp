#include "participant.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace {

constexpr std::string_view answer =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
    "{\"dtm_result\":\"SUCCESS\"}";

int checked(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
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

int listen_on(const std::string& host, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1)
        throw std::system_error(EINVAL, std::generic_category(), "address " + host);
    const int fd =
        checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const auto place = host + ":" + std::to_string(port);
    checked(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), place.c_str());
    checked(listen(fd, 1024), place.c_str());
    return fd;
}

}  // namespace

Participant::Participant(const std::string& address, int port, Seen seen)
    : seen_(std::move(seen)),
      listener_(listen_on(address, port)),
      epoll_(checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      stop_(checked(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")) {
    watch(listener_);
    watch(stop_);
}

Participant::~Participant() {
    for (const auto& [fd, rest] : rest_) close(fd);
    close(listener_);
    close(epoll_);
    close(stop_);
}

void Participant::run() {
    epoll_event events[256];
    for (;;) {
        const int n = epoll_wait(epoll_, events, 256, -1);
        for (int i = 0; i < n; ++i) {
            if (events[i].data.fd == stop_) return;
            if (events[i].data.fd == listener_)
                accept_all();
            else if (!serve(events[i].data.fd))
                close_connection(events[i].data.fd);
        }
    }
}

void Participant::stop() { eventfd_write(stop_, 1); }

void Participant::watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    checked(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

void Participant::accept_all() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        rest_[fd];
        watch(fd);
    }
}

// One read, all complete requests in it, one write. False when the connection is over.
bool Participant::serve(int fd) {
    const ssize_t got = recv(fd, buffer_, sizeof buffer_, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    std::string_view in(buffer_, static_cast<std::size_t>(got));
    std::string& rest = rest_[fd];
    std::string whole;
    if (!rest.empty()) {
        whole = std::move(rest.append(in));
        in = whole;
    }
    std::string out;
    while (const std::size_t length = request_length(in)) {
        if (seen_) seen_(in.substr(0, in.find("\r\n")));
        out += answer;
        in.remove_prefix(length);
    }
    rest = std::string(in);
    // An answer is far smaller than the socket's buffer, and the client waits for it.
    return out.empty() ||
           send(fd, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size());
}

void Participant::close_connection(int fd) {
    rest_.erase(fd);
    close(fd);
}
