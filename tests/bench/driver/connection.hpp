// One keep-alive HTTP/1.1 connection with at most one request at a time. The socket does not block;
// who owns it waits for it in a loop of its own.
#pragma once

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace driver {

struct Answer {
    unsigned status = 0;
    std::string body;
};

struct Place {
    std::string host;
    int port = 0;
    std::string text() const { return host + ":" + std::to_string(port); }
};

class Connection {
public:
    explicit Connection(Place place) : place_(std::move(place)) {}
    ~Connection() { close(); }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    // Blocks, at most five seconds. Throws std::runtime_error, as everything here does.
    void open();
    void close();
    bool is_open() const { return fd_ >= 0; }
    int fd() const { return fd_; }

    void send(std::string_view request);
    // Reads what there is; nullopt: the answer is not complete. Closes the connection when its end
    // was announced; throws when it broke, or when nobody asked.
    std::optional<Answer> receive();
    // send(), and waits for the answer.
    Answer ask(std::string_view request, int timeout_ms);

private:
    using Parser = boost::beast::http::response_parser<boost::beast::http::string_body>;
    std::optional<Answer> parse();
    std::optional<Answer> take();

    Place place_;
    int fd_ = -1;
    std::string unread_;
    std::optional<Parser> parser_;  // there is one while an answer is awaited
};

}  // namespace driver
