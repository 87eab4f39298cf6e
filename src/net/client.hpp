// The network thread: calls HTTP endpoints with libcurl's multi interface, has the listener
// (net/server.hpp), and hands over what comes through queues and a file descriptor. Plain C++:
// knows no PostgreSQL, no dtm, and links into a test program of its own (TSan). It survives dead,
// slow and hostile peers: every call ends, by its own timeout at the latest, and no answer is
// larger than the cap.
#pragma once

#include "net/breaker.hpp"
#include "net/server.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::net {

struct Settings {
    std::uint32_t max_in_flight = 1000;          // above it, calls queue in this object
    std::uint32_t max_in_flight_per_host = 100;  // likewise, per scheme://host:port
    // Calls that are held, in flight or queued, and the memory that their owner keeps for them. A
    // host that is slow gets a part of what the others leave; what it has no room for comes back.
    std::uint32_t max_held = 10000;
    std::size_t max_held_bytes = std::size_t{128} << 20;
    std::size_t max_body = 64 * 1024;   // bytes of an answer that are kept; the rest is cut
    std::uint32_t breaker_errors = 10;  // calls in a row without an answer; 0: no circuit breaker
    std::chrono::milliseconds breaker_longest{60000};  // between two probes of a dead host
    std::string user_agent = "dtm_pg";
};

// "Name: value"; "Name:" removes libcurl's default. Shared, because most calls carry the same.
using Headers = std::shared_ptr<const std::vector<std::string>>;

struct Call {
    std::uint64_t id = 0;  // the caller's; comes back in the Reply
    bool post = false;
    std::string url;
    std::string_view body;  // must stay valid as long as `keep` lives
    std::shared_ptr<const void> keep;
    std::size_t bytes = 0;  // of memory that its owner keeps until the answer
    Headers headers;
    // Goes before the calls that are not: finishing what has begun before beginning more keeps an
    // overloaded coordinator's transactions short.
    bool urgent = false;
    // Somebody asked for this call: it is the probe of a host whose circuit breaker is open.
    bool probe = false;
    std::chrono::milliseconds timeout{3000};  // counts from the moment the call starts, not queues
};

// The time from the opening of a host's circuit breaker to the next answer.
struct Outage {
    std::uint64_t number = 0;  // another one for each
    std::string host;
    std::uint32_t errors_in_a_row = 0;
    std::string last_error;
};

struct Reply {
    std::uint64_t id = 0;
    long status = 0;    // 0: no HTTP answer was received
    std::string body;   // at most Settings::max_body bytes
    std::string error;  // transport error in words, empty when an answer was received
    std::chrono::microseconds elapsed{0};
    // The call never left, `error` says why. Try again after this time.
    std::optional<std::chrono::milliseconds> deferred;
    std::optional<Outage> outage;  // deferred, because its host answers nobody
    bool recalled = false;         // the call never left: Client::recall() has it back
    bool probe = false;            // recalled: Call::probe
};

// Ids of calls, both ends included.
struct IdRange {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
};

// One host (scheme, name, port) as the network thread sees it.
struct Endpoint {
    std::string key;
    Breaker::State breaker = Breaker::State::closed;
    std::uint32_t in_flight = 0;
    std::uint32_t waiting = 0;
    std::uint64_t calls = 0;     // that have ended
    std::uint64_t errors = 0;    // of them without an answer
    std::uint64_t deferred = 0;  // calls that were not sent
    std::uint32_t errors_in_a_row = 0;
    std::chrono::milliseconds next_probe{0};    // from now, when open
    std::chrono::microseconds mean_elapsed{0};  // of answers, the recent ones weigh most
    std::string last_error;
};

struct Stats {
    std::uint64_t calls = 0, replies = 0, transport_errors = 0, connects = 0;
    std::uint32_t in_flight = 0, queued = 0;
};

class Client {
public:
    // Starts the thread with all signals blocked. Throws std::runtime_error when it cannot.
    explicit Client(Settings settings);
    // Abandons what is in flight and joins the thread; returns within 100 ms.
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    // Hands over calls; never blocks on the network. The vector is left empty.
    void submit(std::vector<Call>& calls);
    // Takes back those that have not started, of the calls submitted so far: each gets a Reply that
    // says `recalled`. The vector is left empty.
    void recall(std::vector<IdRange>& ids);
    // Appends all answers that have come so far. Throws std::runtime_error when the thread has
    // ended, because there was no memory; the client is of no use any more.
    void drain(std::vector<Reply>& replies);
    // Readable while drain() or take_requests() has something to give.
    int ready_fd() const;
    // Applies to calls started from now on.
    void configure(Settings settings);
    Stats stats() const;

    // --- the listener (net/server.hpp) ---
    // Takes effect soon; a changed address opens before the old one closes where it can, and
    // connections that are open stay open. What cannot be opened is tried again every second.
    void listen(ServerSettings settings);
    // Appends the requests that have come so far; ready_fd() is readable while there are any.
    void take_requests(std::vector<HttpRequest>& requests);
    // Appends the ids of requests whose clients have left before their answer. ready_fd() does not
    // tell of them. Each of them has been there to take before: see take_requests().
    void take_gone(std::vector<std::uint64_t>& ids);
    // Answers, in any order; one whose client is gone is dropped. The vector is left empty.
    void answer(std::vector<HttpAnswer>& answers);
    ListenerState listener() const;
    // Of requests and answers of the listener, those included that answer() has just taken. Whoever
    // makes answers larger than the requests has to keep it below ServerSettings::max_buffered.
    std::size_t buffered() const;

    // The hosts as of the last question or a second ago, those with trouble or work first.
    std::vector<Endpoint> endpoints() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dtm::net
