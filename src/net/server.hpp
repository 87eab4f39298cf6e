// The listener of the network thread: HTTP/1.1 for clients, with Boost.Beast on Boost.Asio.
// Requests come out of a queue, answers go in, both through net::Client, which owns the thread.
// Plain C++: knows no PostgreSQL and no dtm. It survives slow, hostile and very many peers: header
// and body have limits, a request must arrive in time, and idle connections cost a few hundred
// bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace dtm::net {

struct ServerSettings {
    // "127.0.0.1:36789", "[::1]:36789", "*:36789". Empty: nobody listens, and all else stays as it
    // is for those who are connected.
    std::string listen;
    std::string certificate;  // PEM text of the chain and of the key: TLS; both or none
    std::string key;
    std::string token;  // asked for as "Authorization: Bearer TOKEN"; empty: nobody is asked
    std::size_t max_header = 16 * 1024;
    std::size_t max_body = 1u << 20;
    // Of all requests without an answer and of all answers that have not gone; above it: 503.
    std::size_t max_buffered = 256UL << 20;
    // Above it, and above half of what the process may open, new ones are closed at once; but
    // before them whoever waits for an answer and will send nothing more.
    std::uint32_t max_connections = 10000;
    // From its first byte to its last; and for each sixteenth of an answer that is slow to go.
    std::chrono::milliseconds request_timeout{30000};
    std::chrono::milliseconds idle_timeout{600000};  // between two requests
    // Whether a client that sends nothing more still waits is asked so often, in whole seconds.
    std::chrono::seconds probe_interval{15};
    bool operator==(const ServerSettings&) const = default;
};

struct HttpRequest {
    std::uint64_t id = 0;  // the server's; goes back in the answer
    std::string method;    // "GET"
    std::string target;    // "/api/dtmsvr/query?gid=1", as received
    std::string body;
    std::chrono::steady_clock::time_point received;
};

struct HttpAnswer {
    std::uint64_t id = 0;
    // later: there will be one, and the request takes no memory until then. none: nobody will
    // answer, and the connection closes.
    enum class Kind : std::uint8_t { answer, later, none } kind = Kind::answer;
    unsigned status = 200;
    std::string content_type = "application/json; charset=utf-8";
    std::string body;
    std::string location;  // redirects only
};

// How the listener is doing, for people.
struct ListenerState {
    std::string listening;  // address in use; empty: nobody listens
    std::string error;      // why not, e.g. "bind 127.0.0.1:36789: Address already in use"
    std::uint32_t connections = 0;
    std::uint64_t accepted = 0, requests = 0;
    // Answered here (400, 401, 403, 408, 413, 431, 501, 503), or closed for want of room.
    std::uint64_t refused = 0;
};

}  // namespace dtm::net
