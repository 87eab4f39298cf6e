// All connections of the listener, and what they share: settings, ids of requests, deadlines. It
// survives clients that are slow, gone or very many: every phase of a connection but one (while the
// process works on its request) has an end, and an idle connection keeps no buffer.
#pragma once

#include "net/answer_header.hpp"
#include "net/connection.hpp"
#include "net/request_parser.hpp"
#include "net/server.hpp"
#include "net/tls.hpp"
#include "net/unique_fd.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::net {

class Connections {
public:
    using Time = std::chrono::steady_clock::time_point;

    explicit Connections(boost::asio::io_context& io);
    ~Connections();
    Connections(const Connections&) = delete;
    Connections& operator=(const Connections&) = delete;

    // For requests from now on, and for the deadlines of all that is open.
    void configure(const ServerSettings& settings);
    // Ends connections, all of them or those without TLS: what is idle closes, the others when the
    // request that is complete has been answered.
    enum class Which : std::uint8_t { all, without_tls };
    void end(Which which);

    // Takes an accepted socket. Where there are too many already, one is closed: of those who wait
    // and send nothing more the one that does so for the longest time, or else the new one.
    void add(UniqueFd socket, const TlsContext* tls, std::size_t max_connections) noexcept;
    // Drops the answer when its client is gone.
    void answer(HttpAnswer answer) noexcept;
    // Closes the connection of a request that nobody is going to answer.
    void abandon(std::uint64_t id) noexcept;
    // Ends what took too long.
    void expire(Time now) noexcept;
    // When something will have taken too long.
    Time deadline();

    std::size_t count() const { return count_; }
    std::vector<HttpRequest>& arrived() { return arrived_; }
    // Requests that were handed over and whose clients left before the answer.
    std::vector<std::uint64_t>& gone() { return gone_; }
    std::uint64_t accepted() const { return accepted_; }
    std::uint64_t requests() const { return requests_; }
    std::uint64_t refused() const { return refused_; }

    // ---- for a Connection ----

    const ServerSettings& settings() const { return settings_; }
    // 0, or the status with which a request is refused whose header is complete: 401 without the
    // token, 403 where none is asked for and a browser sends it for somebody else's page.
    unsigned refusal(const RequestParser& request) const;
    // Puts it behind the others that are in this phase, with a deadline of its own from now on.
    void enter(Connection& connection, Connection::Phase phase);
    void hand_over(Connection& connection, HttpRequest request);
    void count_refusal() { ++refused_; }
    // Of what is kept for one connection.
    void count_bytes(std::size_t before, std::size_t now) { buffered_ += now - before; }
    bool has_room() const { return buffered_ <= settings_.max_buffered; }
    std::size_t buffered() const { return buffered_; }
    // Its client has left and gets no answer.
    void lost(const Connection& connection) noexcept;
    void closed(Connection& connection) noexcept;

    std::unique_ptr<RequestParser> take_parser();
    void give_back(std::unique_ptr<RequestParser> parser) noexcept;
    // What a connection reads into, and what it writes an answer's header to: one for all, because
    // nothing stays there.
    std::span<char> input() { return input_; }
    std::string& output() { return output_; }
    HttpDate& date() { return date_; }

private:
    bool authorized(std::string_view target, std::string_view authorization) const;
    // Larger than a record of TLS.
    static constexpr std::size_t input_size = 64UL * 1024;

    // The place of a connection, and the number of requests that came from there: together the id
    // of a request, which nobody else will ever have.
    struct Slot {
        boost::intrusive_ptr<Connection> connection;
        std::uint32_t requests = 0;
    };
    using List = boost::intrusive::list<Connection, boost::intrusive::constant_time_size<false>>;

    static std::uint64_t request_id(std::uint32_t slot, std::uint32_t number) {
        return (std::uint64_t{number} << 32) | slot;
    }

    // The phases that end by themselves, and when.
    struct Deadline {
        List& list;
        std::chrono::milliseconds timeout;
    };
    std::array<Deadline, 4> deadlines();
    List* list_of(const Connection& connection);
    boost::intrusive_ptr<Connection> find(std::uint64_t id) const;

    boost::asio::io_context& io_;
    ServerSettings settings_;
    std::vector<Slot> slots_;
    std::vector<std::uint32_t> free_slots_;
    std::size_t count_ = 0;
    std::size_t buffered_ = 0;
    // In the order in which they entered, so the first is the first to be too late.
    List idle_, reading_, writing_, leaving_;
    std::vector<HttpRequest> arrived_;
    std::vector<std::uint64_t> gone_;
    std::uint64_t accepted_ = 0, requests_ = 0, refused_ = 0;
    List finished_;  // busy, and the client sends nothing more
    std::vector<std::unique_ptr<RequestParser>> parsers_;
    std::vector<char> input_ = std::vector<char>(input_size);
    std::string output_;
    HttpDate date_;
};

}  // namespace dtm::net
