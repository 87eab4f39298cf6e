// One connection of the listener: reads requests one after the other, hands each over, writes its
// answer. Requests that come early (pipelining) wait, at first here, then in the kernel. Idle
// connections, of which there may be thousands, keep no buffer and no parser: half a kilobyte each
// with what Asio keeps for them, 15 kB with TLS (measured by NetServerSpeed).
#pragma once

#include "net/answer_header.hpp"
#include "net/asio.hpp"
#include "net/server.hpp"
#include "net/tls.hpp"
#include "net/unique_fd.hpp"

#include <boost/intrusive/list.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dtm::net {

class Connections;
class RequestParser;

// Room for what Asio remembers of one operation that has not happened yet; within its owner,
// because a thousand waiting connections are a thousand operations.
class OperationMemory {
public:
    void* allocate(std::size_t size);
    void deallocate(void* memory) noexcept;

private:
    alignas(std::max_align_t) std::byte room_[112];
    bool used_ = false;
};

class Connection final
    : public boost::intrusive_ref_counter<Connection, boost::thread_unsafe_counter>,
      public boost::intrusive::list_base_hook<
          boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
public:
    enum class Phase : std::uint8_t {
        handshake,  // of TLS
        idle,
        reading,  // a request
        busy,     // the process works on the request
        writing,  // an answer that the client does not take at once
        leaving   // everything is said; waits for the client to close
    };
    using Time = std::chrono::steady_clock::time_point;

    // Throws std::bad_alloc or boost::system::system_error.
    Connection(Connections& owner, boost::asio::io_context& io, UniqueFd socket,
               const TlsContext* tls);
    ~Connection();

    void start();
    void answer(HttpAnswer answer);
    // It waits for its answer, but nobody keeps it.
    void forget_request() noexcept;
    // Its phase took too long.
    void expire();
    // No further requests: one that is complete gets its answer, also when it waits to be read.
    void end();
    void close() noexcept;

    Phase phase() const { return phase_; }
    // It sends nothing more, but may wait for an answer.
    bool client_finished() const { return client_finished_; }
    Time since() const { return since_; }
    bool closed() const { return closed_; }
    bool secure() const { return tls_ != nullptr; }

private:
    friend class Connections;

    struct Output;
    struct OnReadable;
    struct OnWritable;
    struct OnGone;

    void wait_readable();
    void wait_writable();
    void wait_gone();
    void on_readable();
    void on_writable();
    void shake_hands();
    void refuse_plain_http();

    Moved read_some();
    Moved write_some(std::string_view first, std::string_view second);
    void read();
    void wait_for_more();
    void account();
    void on_end();
    void probe();
    void take(std::string_view input);
    std::string_view consume(std::string_view input);
    void keep_early(std::string_view rest);
    void on_header(bool body_arrived);
    void on_request();
    void go_on();

    void refuse(unsigned status, std::string_view message);
    void send(AnswerHeader header, std::string body);
    void flush();
    void on_sent();
    void leave();

    Connections& owner_;
    boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type> socket_;
    std::unique_ptr<TlsStream> tls_;
    std::unique_ptr<RequestParser> parser_;  // while a request arrives
    std::unique_ptr<Output> output_;         // what the kernel did not take
    std::string early_;                      // has arrived and was not read yet
    Time since_;
    std::size_t request_bytes_ = 0;  // of the request that the process works on
    std::size_t accounted_ = 0;      // what its owner knows about all bytes that are kept for it
    std::uint32_t slot_ = 0;
    Phase phase_ = Phase::idle;
    bool closed_ = false;
    bool waits_readable_ = false;
    bool waits_writable_ = false;
    bool client_finished_ = false;  // it sends nothing more
    bool ending_ = false;           // closes after the answer to the current request
    bool keep_alive_ = false;       // after the answer to the current request
    bool http_1_0_ = false;         // its client has to be told so
    bool head_ = false;             // it wants no body
    unsigned refusal_ = 0;          // it gets this status, whatever its body is
    OperationMemory memory_;        // for the wait that every connection is in
};

}  // namespace dtm::net
