// What the tests of the listener share: a client on a raw socket, which sends bytes as it is told
// and reads answers, and a host that takes requests and answers them.
#pragma once

#include "net_testkit.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

namespace dtm::net::test {

// True as soon as `condition` is; false when patience is over.
template <typename Condition>
bool eventually(Condition&& condition) {
    const auto end = Clock::now() + patience;
    while (!condition()) {
        if (Clock::now() > end) return false;
        std::this_thread::sleep_for(1ms);
    }
    return true;
}

struct Answer {
    int status = 0;                              // 0: the connection ended before
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;
};

// A client. What it has not read yet is in `input`.
class Wire {
public:
    explicit Wire(int port, int receive_buffer = 0)
        : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        if (receive_buffer > 0) {
            ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        }
        const int one = 1;
        ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connect(port);
    }
    // Not connected yet.
    Wire() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
    ~Wire() { close(); }
    Wire(Wire&& other) noexcept
        : input(std::move(other.input)), fd_(std::exchange(other.fd_, -1)), ok_(other.ok_) {}
    Wire& operator=(Wire&&) = delete;

    void connect(int port) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ok_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    bool connected() const { return ok_; }
    int fd() const { return fd_; }

    void close() {
        if (fd_ >= 0) ::close(std::exchange(fd_, -1));
    }
    // With RST instead of FIN.
    void reset() {
        const linger now{1, 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }
    void finish() { ::shutdown(fd_, SHUT_WR); }

    // False when the other side is gone.
    bool send(std::string_view text) {
        while (!text.empty()) {
            const ssize_t count = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (count <= 0) return false;
            text.remove_prefix(static_cast<std::size_t>(count));
        }
        return true;
    }

    // Reads some bytes; false at the end, or when patience is over.
    bool read_more() {
        pollfd wait{fd_, POLLIN, 0};
        if (::poll(&wait, 1, 30000) != 1) {
            ADD_FAILURE() << "nothing came";
            return false;
        }
        char buffer[65536];
        const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
        if (count <= 0) return false;
        input.append(buffer, static_cast<std::size_t>(count));
        return true;
    }

    // The next answer; `has_body` is false for that to a HEAD request.
    Answer read_answer(bool has_body = true) {
        std::size_t head = 0;
        while ((head = input.find("\r\n\r\n")) == std::string::npos) {
            if (!read_more()) return {};
        }
        Answer answer = parse_head(input.substr(0, head + 2));
        const std::size_t size =
            has_body ? std::strtoul(answer.headers["content-length"].c_str(), nullptr, 10) : 0;
        while (input.size() < head + 4 + size) {
            if (!read_more()) return {};
        }
        answer.body = input.substr(head + 4, size);
        input.erase(0, head + 4 + size);
        return answer;
    }

    // Whether the other side closes without another byte.
    bool closes() { return input.empty() && !read_more() && input.empty(); }

    Answer ask(std::string_view text) {
        if (!send(text)) return {};
        return read_answer();
    }

    std::string input;

private:
    static Answer parse_head(std::string_view text) {
        Answer answer;
        bool first = true;
        while (!text.empty()) {
            const std::string line(text.substr(0, text.find("\r\n")));
            text.remove_prefix(line.size() + 2);
            if (std::exchange(first, false)) {
                EXPECT_EQ(line.substr(0, 9), "HTTP/1.1 ");
                answer.status = std::atoi(line.c_str() + 9);
            } else if (const auto colon = line.find(": "); colon != std::string::npos) {
                std::string name = line.substr(0, colon);
                std::ranges::transform(name, name.begin(),
                                       [](unsigned char c) { return std::tolower(c); });
                answer.headers[name] = line.substr(colon + 2);
            }
        }
        return answer;
    }

    int fd_ = -1;
    bool ok_ = false;
};

inline std::string get(std::string_view target, std::string_view headers = "") {
    return "GET " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n" + std::string(headers) +
           "\r\n";
}

inline std::string post(std::string_view target, std::string_view body,
                        std::string_view headers = "") {
    return "POST " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n" + std::string(headers) +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

inline HttpAnswer make_answer(std::uint64_t id, std::string body, unsigned status = 200) {
    HttpAnswer answer;
    answer.id = id;
    answer.status = status;
    answer.body = std::move(body);
    return answer;
}

// The answer says why, and the connection ends after it.
inline void expect_refusal(Wire& wire, int status, std::string_view message) {
    const Answer answer = wire.read_answer();
    EXPECT_EQ(answer.status, status) << message;
    EXPECT_EQ(answer.body, R"({"message":")" + std::string(message) + R"("})");
    EXPECT_EQ(answer.headers.at("content-type"), "application/json; charset=utf-8");
    EXPECT_EQ(answer.headers.at("connection"), "close");
    EXPECT_TRUE(wire.closes());
}

// The process behind the listener.
class Host {
public:
    explicit Host(ServerSettings settings = {}, Settings client_settings = {})
        : client(std::make_unique<Client>(std::move(client_settings))) {
        if (settings.listen.empty()) settings.listen = "127.0.0.1:0";
        listen(std::move(settings));
    }
    ~Host() { stop_echo(); }

    void listen(ServerSettings settings) {
        current = settings;
        client->listen(std::move(settings));
    }
    // The port, as soon as somebody listens at the address.
    int port() {
        const std::string host = current.listen.substr(0, current.listen.rfind(':') + 1);
        std::string found;
        EXPECT_TRUE(eventually([&] {
            found = client->listener().listening;
            return found.starts_with(host);
        })) << client->listener().error;
        return std::atoi(found.c_str() + found.rfind(':') + 1);
    }
    bool waits_for_connections(std::uint32_t count) {
        return eventually([&] { return client->listener().connections == count; });
    }

    // Requests in the order of their arrival, as soon as there are `count` in all.
    const std::vector<HttpRequest>& wait_for(std::size_t count) {
        const auto end = Clock::now() + patience;
        while (requests.size() < count && Clock::now() < end) {
            pollfd wait{client->ready_fd(), POLLIN, 0};
            ::poll(&wait, 1, 100);
            client->take_requests(requests);
        }
        EXPECT_GE(requests.size(), count);
        if (requests.size() < count) requests.resize(count);
        return requests;
    }
    void answer(HttpAnswer answer) {
        std::vector<HttpAnswer> answers;
        answers.push_back(std::move(answer));
        client->answer(answers);
        EXPECT_TRUE(answers.empty());
    }

    // From now on a thread answers every request with "METHOD TARGET BODY"; it takes all replies of
    // calls as well.
    void echo() {
        echoing_ = true;
        echo_ = std::thread([this] {
            std::vector<HttpRequest> taken;
            std::vector<HttpAnswer> answers;
            std::vector<Reply> replies;
            while (echoing_) {
                pollfd wait{client->ready_fd(), POLLIN, 0};
                ::poll(&wait, 1, 10);
                client->drain(replies);
                replied += replies.size();
                replies.clear();
                client->take_requests(taken);
                for (HttpRequest& request : taken) {
                    answers.push_back(make_answer(
                        request.id, request.method + " " + request.target + " " + request.body));
                }
                taken.clear();
                client->answer(answers);
            }
        });
    }
    void stop_echo() {
        echoing_ = false;
        if (echo_.joinable()) echo_.join();
    }

    std::unique_ptr<Client> client;
    ServerSettings current;
    std::vector<HttpRequest> requests;
    std::atomic<std::size_t> replied{0};

private:
    std::atomic<bool> echoing_{false};
    std::thread echo_;
};

}  // namespace dtm::net::test
