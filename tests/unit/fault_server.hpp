// An HTTP server that misbehaves on request, for the tests of src/net. The path says how:
//
//   /ok            200 with the request's body (or "ok")
//   /status/<n>    that status, body "status <n>"; 204 without a body
//   /hold          no answer until release() is called, then like /ok
//   /never         no answer, ever
//   /reset         connection reset instead of an answer
//   /nothing       connection closed instead of an answer
//   /truncated     announces 100 bytes, sends 10, closes
//   /cut-chunks    a chunked body that never ends properly, then closes
//   /stall         announces 100 bytes, sends 10, then silence
//   /large/<n>     200 with a body of n bytes
//   /endless       200 with a body that has no end
//   /headers       header lines without end
//   /garbage       bytes that are no HTTP
//   /binary        200 with a body of NUL and bytes that are no UTF-8
//   /close         200 like /ok, then closes the connection without having announced it
//   /redirect      302 to /ok
//
// One thread per connection, every wait ends when the server is destroyed.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace fault {

struct Seen {
    std::string method;
    std::string target;  // path and query
    std::map<std::string, std::string> headers;
    std::string body;
};

class Server {
public:
    Server() {
        // Below the ephemeral ports, so that no outgoing connection can be in the way.
        for (port_ = 20000 + ::getpid() % 11000; port_ < 32000; ++port_) {
            listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_port = htons(static_cast<std::uint16_t>(port_));
            address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            const int one = 1;
            ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
            if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                ::listen(listener_, 1024) == 0) {
                acceptor_ = std::thread([this] { accept_connections(); });
                return;
            }
            ::close(listener_);
        }
        throw std::runtime_error("no free port");
    }

    ~Server() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
        }
        changed_.notify_all();
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        ::close(listener_);
        for (std::thread& thread : connections_) thread.join();
    }

    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    std::string url(std::string_view path) const {
        return "http://127.0.0.1:" + std::to_string(port_) + std::string(path);
    }
    int port() const { return port_; }

    // Lets the calls of /hold go, those that wait and those to come.
    void release() {
        const std::lock_guard lock(mutex_);
        released_ = true;
        changed_.notify_all();
    }

    // Waits until so many requests are being held at the same time; false after ten seconds.
    bool wait_for_held(std::size_t count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return held_ >= count; });
    }
    bool wait_for_requests(std::size_t count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, std::chrono::seconds(10),
                                 [&] { return seen_.size() >= count; });
    }

    std::vector<Seen> seen() const {
        const std::lock_guard lock(mutex_);
        return seen_;
    }
    std::size_t connections() const {
        const std::lock_guard lock(mutex_);
        return accepted_;
    }
    std::size_t most_at_once() const {
        const std::lock_guard lock(mutex_);
        return most_;
    }

private:
    void accept_connections() {
        for (;;) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            const std::lock_guard lock(mutex_);
            if (stopping_ || fd < 0) {
                if (fd >= 0) ::close(fd);
                return;
            }
            ++accepted_;
            open_.insert(fd);
            connections_.emplace_back([this, fd] { serve(fd); });
        }
    }

    void serve(int fd) {
        std::string input;
        Seen request;
        while (read_request(fd, input, request)) {
            {
                const std::lock_guard lock(mutex_);
                seen_.push_back(request);
                most_ = std::max(most_, ++now_);
            }
            changed_.notify_all();
            const bool keep = answer(fd, request);
            {
                const std::lock_guard lock(mutex_);
                --now_;
            }
            if (!keep) break;
        }
        const std::lock_guard lock(mutex_);
        open_.erase(fd);
        ::close(fd);
    }

    static bool read_some(int fd, std::string& input) {
        char buffer[16384];
        const ssize_t count = ::recv(fd, buffer, sizeof buffer, 0);
        if (count <= 0) return false;
        input.append(buffer, static_cast<std::size_t>(count));
        return true;
    }

    static bool read_request(int fd, std::string& input, Seen& request) {
        request = Seen();
        std::size_t head = 0;
        while ((head = input.find("\r\n\r\n")) == std::string::npos) {
            if (!read_some(fd, input)) return false;
        }
        std::size_t line = 0;
        while (line < head) {
            const std::size_t end = std::min(input.find("\r\n", line), head);
            const std::string text = input.substr(line, end - line);
            if (line == 0) {
                const std::size_t first = text.find(' ');
                request.method = text.substr(0, first);
                request.target = text.substr(first + 1, text.rfind(' ') - first - 1);
            } else if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
                const std::size_t value = text.find_first_not_of(' ', colon + 1);
                request.headers[text.substr(0, colon)] =
                    value == std::string::npos ? "" : text.substr(value);
            }
            line = end + 2;
        }
        input.erase(0, head + 4);
        const auto length = request.headers.find("Content-Length");
        const std::size_t size =
            length == request.headers.end() ? 0 : std::strtoul(length->second.c_str(), nullptr, 10);
        while (input.size() < size) {
            if (!read_some(fd, input)) return false;
        }
        request.body = input.substr(0, size);
        input.erase(0, size);
        return true;
    }

    static bool send_all(int fd, std::string_view text) {
        while (!text.empty()) {
            const ssize_t count = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
            if (count <= 0) return false;
            text.remove_prefix(static_cast<std::size_t>(count));
        }
        return true;
    }

    static bool send_answer(int fd, int status, std::string_view body, std::string_view more = "") {
        std::string text =
            "HTTP/1.1 " + std::to_string(status) + " Some Words\r\n" + std::string(more);
        if (status != 204) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
        text += "\r\n";
        if (status != 204) text += body;
        return send_all(fd, text);  // in one piece: two would wait for a delayed ACK
    }

    // Keeps the connection open, silent, until the peer or the server goes.
    static bool be_silent(int fd) {
        std::string ignored;
        while (read_some(fd, ignored)) {}
        return false;
    }

    // Returns whether the connection goes on.
    bool answer(int fd, const Seen& request) {
        const std::string path = request.target.substr(0, request.target.find('?'));
        const auto is = [&path](std::string_view name) { return path == name; };
        const auto number = [&path] { return std::atoi(path.c_str() + path.rfind('/') + 1); };
        const std::string echo = request.body.empty() ? "ok" : request.body;

        if (path.starts_with("/status/")) {
            return send_answer(fd, number(), "status " + std::to_string(number()));
        }
        if (path.starts_with("/large/")) {
            return send_answer(fd, 200, std::string(static_cast<std::size_t>(number()), 'L'));
        }
        if (is("/redirect")) return send_answer(fd, 302, "moved", "Location: /ok\r\n");
        if (is("/close")) {
            send_answer(fd, 200, echo);
            return false;
        }
        if (is("/hold")) {
            hold();
            return send_answer(fd, 200, echo);
        }
        if (is("/never")) return be_silent(fd);
        if (is("/nothing")) return false;
        if (is("/reset")) {
            const linger now{1, 0};
            ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
            return false;
        }
        if (is("/truncated") || is("/stall")) {
            send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
            return is("/stall") && be_silent(fd);
        }
        if (is("/cut-chunks")) {
            send_all(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n01234");
            return false;
        }
        if (is("/endless")) {
            send_all(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
            const std::string block(65536, 'E');
            while (send_all(fd, block)) {}
            return false;
        }
        if (is("/headers")) {
            send_all(fd, "HTTP/1.1 200 OK\r\n");
            const std::string line = "X-More: " + std::string(1000, 'h') + "\r\n";
            while (send_all(fd, line)) {}
            return false;
        }
        if (is("/garbage")) {
            send_all(fd, "\x16\x03\x01 this is no HTTP at all\r\n\r\n");
            return false;
        }
        if (is("/binary")) return send_answer(fd, 200, std::string_view("\0\xff\xfe\0", 4));
        return send_answer(fd, 200, echo);
    }

    void hold() {
        std::unique_lock lock(mutex_);
        ++held_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return released_ || stopping_; });
        --held_;
    }

    int port_ = 0;
    int listener_ = -1;
    std::thread acceptor_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::list<std::thread> connections_;
    std::set<int> open_;
    std::vector<Seen> seen_;
    std::size_t accepted_ = 0;
    std::size_t now_ = 0, most_ = 0;  // requests between arrival and answer
    std::size_t held_ = 0;
    bool released_ = false;
    bool stopping_ = false;
};

}  // namespace fault
