#include "driver/connection.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace driver {

namespace http = boost::beast::http;

namespace {

constexpr std::uint64_t largest_answer = 16 << 20;

[[noreturn]] void fail(const std::string& what, int error) {
    throw std::runtime_error(what + ": " + std::strerror(error));
}

// A connected socket; -1 and `error` when the address does not take it.
int connect_to(const addrinfo& address, int& error) {
    const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("socket", errno);
    const timeval longest{5, 0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &longest, sizeof longest);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, address.ai_addr, address.ai_addrlen) == 0) return fd;
    error = errno;
    ::close(fd);
    return -1;
}

}  // namespace

void Connection::open() {
    close();
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int wrong =
        getaddrinfo(place_.host.c_str(), std::to_string(place_.port).c_str(), &hints, &found);
    if (wrong != 0) throw std::runtime_error("host " + place_.host + ": " + gai_strerror(wrong));
    int error = 0;
    for (const addrinfo* address = found; address != nullptr && fd_ < 0; address = address->ai_next)
        fd_ = connect_to(*address, error);
    freeaddrinfo(found);
    if (fd_ < 0) fail("connect to " + place_.text(), error);
}

void Connection::close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    unread_.clear();
    parser_.reset();
}

void Connection::send(std::string_view request) {
    if (!is_open()) open();
    parser_.emplace();
    parser_->eager(true);
    parser_->body_limit(largest_answer);
    // A request is far smaller than the socket's buffer, which is empty.
    const ssize_t sent = ::send(fd_, request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) fail("send to " + place_.text(), errno);
    if (sent != static_cast<ssize_t>(request.size()))
        throw std::runtime_error("send to " + place_.text() + ": nobody reads");
}

std::optional<Answer> Connection::receive() {
    char buffer[16 * 1024];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0) {
        if (errno == EAGAIN || errno == EINTR) return std::nullopt;
        fail("answer of " + place_.text(), errno);
    }
    if (got > 0) {
        if (!parser_) throw std::runtime_error(place_.text() + " answers what nobody asked");
        unread_.append(buffer, static_cast<std::size_t>(got));
        return parse();
    }
    boost::system::error_code error;
    if (parser_ && parser_->got_some()) parser_->put_eof(error);
    if (parser_ && parser_->is_done() && !error) return take();
    throw std::runtime_error(place_.text() + " closed the connection");
}

std::optional<Answer> Connection::parse() {
    while (!unread_.empty() && !parser_->is_done()) {
        boost::system::error_code error;
        const auto used = parser_->put(boost::asio::buffer(unread_), error);
        unread_.erase(0, used);
        if (error == http::error::need_more) break;
        if (error) throw std::runtime_error("answer of " + place_.text() + ": " + error.message());
    }
    return parser_->is_done() ? take() : std::nullopt;
}

std::optional<Answer> Connection::take() {
    const bool stays = parser_->keep_alive();
    auto message = parser_->release();
    parser_.reset();
    if (!stays) close();
    return Answer{message.result_int(), std::move(message.body())};
}

Answer Connection::ask(std::string_view request, int timeout_ms) {
    send(request);
    for (;;) {
        pollfd ready{fd_, POLLIN, 0};
        if (poll(&ready, 1, timeout_ms) == 0)
            throw std::runtime_error("no answer of " + place_.text() + " in " +
                                     std::to_string(timeout_ms) + " ms");
        if (auto answer = receive()) return *answer;
    }
}

}  // namespace driver
