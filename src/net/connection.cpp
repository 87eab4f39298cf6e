#include "net/connection.hpp"

#include "net/connections.hpp"
#include "net/request_parser.hpp"
#include "net/room.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <utility>

namespace dtm::net {

namespace {

using Descriptor = boost::asio::posix::descriptor_base;
using boost::system::error_code;

constexpr std::string_view no_token =
    "this server asks for its token; send the header Authorization: Bearer TOKEN";
constexpr std::string_view no_page =
    "a browser sent this request for a web page that is not of this server; call this server by "
    "its IP address from a page under the same address and port, or give this server a token";
constexpr std::string_view no_longer =
    "this server closes the connection, because its settings have changed; connect again";
constexpr std::string_view no_room = "too many requests wait for their answer; try again later";

// Hands Asio the memory of its connection.
template <typename T>
struct OperationAllocator {
    using value_type = T;
    explicit OperationAllocator(OperationMemory& from) : memory(&from) {}
    template <typename U>
    explicit(false) OperationAllocator(const OperationAllocator<U>& other) : memory(other.memory) {}
    T* allocate(std::size_t count) { return static_cast<T*>(memory->allocate(count * sizeof(T))); }
    void deallocate(T* room, std::size_t) noexcept { memory->deallocate(room); }
    template <typename U>
    bool operator==(const OperationAllocator<U>& other) const {
        return memory == other.memory;
    }
    OperationMemory* memory;
};

std::string_view refusal_message(unsigned status) { return status == 401 ? no_token : no_page; }

AnswerHeader header_of(unsigned status) {
    AnswerHeader header;
    header.status = status;
    header.ask_for_token = status == 401;
    return header;
}

}  // namespace

void* OperationMemory::allocate(std::size_t size) {
    if (used_ || size > sizeof room_) return ::operator new(size);
    used_ = true;
    return room_;
}

void OperationMemory::deallocate(void* memory) noexcept {
    if (memory == room_) {
        used_ = false;
    } else {
        ::operator delete(memory);
    }
}

struct Connection::Output {
    std::string head, body;
    std::size_t sent = 0;
    std::size_t goal = 0;  // has to be sent before its time is over

    std::size_t size() const { return head.size() + body.size(); }
    void set_goal() { goal = sent + size() / parts; }

    // So a client that takes it byte by byte has an end, too.
    static constexpr std::size_t parts = 16;
};

// What Asio calls. It keeps the connection alive, and nothing leaves it: what goes wrong with a
// connection, lack of memory included, ends that connection.
struct Connection::OnReadable {
    using allocator_type = OperationAllocator<void>;
    boost::intrusive_ptr<Connection> connection;
    allocator_type get_allocator() const { return allocator_type(connection->memory_); }
    void operator()(const error_code&) const noexcept {
        connection->waits_readable_ = false;
        if (connection->closed_) return;
        try {
            connection->on_readable();
        } catch (...) {
            connection->close();
        }
    }
};

struct Connection::OnWritable {
    boost::intrusive_ptr<Connection> connection;
    void operator()(const error_code&) const noexcept {
        connection->waits_writable_ = false;
        if (connection->closed_) return;
        try {
            connection->on_writable();
        } catch (...) {
            connection->close();
        }
    }
};

struct Connection::OnGone {
    boost::intrusive_ptr<Connection> connection;
    void operator()(const error_code&) const noexcept { connection->close(); }
};

Connection::Connection(Connections& owner, boost::asio::io_context& io, UniqueFd socket,
                       const TlsContext* tls)
    : owner_(owner), socket_(io) {
    if (tls != nullptr) tls_ = std::make_unique<TlsStream>(*tls, socket.get());
    socket_.assign(socket.get());
    socket.release();
}

Connection::~Connection() = default;

void Connection::start() {
    owner_.enter(*this, tls_ ? Phase::handshake : Phase::idle);
    wait_readable();
}

void Connection::close() noexcept {
    if (closed_) return;
    closed_ = true;
    if (phase_ == Phase::busy) owner_.lost(*this);
    phase_ = Phase::leaving;
    if (tls_) tls_->shutdown();
    error_code ignored;
    socket_.close(ignored);
    tls_.reset();
    if (parser_) owner_.give_back(std::move(parser_));
    owner_.count_bytes(accounted_, 0);
    owner_.closed(*this);
}

// ---- waiting ------------------------------------------------------------------------------------

// Asio only tells that there is something; reading is done here, into a buffer that all share. A
// read that waited would need a buffer of its own.
void Connection::wait_readable() {
    if (closed_ || waits_readable_) return;
    waits_readable_ = true;
    socket_.async_wait(Descriptor::wait_read, OnReadable{this});
}

void Connection::wait_writable() {
    if (closed_ || waits_writable_) return;
    waits_writable_ = true;
    socket_.async_wait(Descriptor::wait_write, OnWritable{this});
}

// A connection at its end is readable for ever; this hears of a reset alone.
void Connection::wait_gone() { socket_.async_wait(Descriptor::wait_error, OnGone{this}); }

void Connection::on_readable() {
    if (phase_ == Phase::handshake) {
        shake_hands();
    } else {
        read();
    }
}

void Connection::on_writable() {
    if (phase_ == Phase::handshake) {
        shake_hands();
    } else if (output_) {
        flush();
        if (!closed_ && phase_ != Phase::writing) go_on();
    } else {
        read();  // TLS had to write before it can read
    }
}

void Connection::expire() {
    if (phase_ != Phase::reading) return close();
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(owner_.settings().request_timeout);
    refuse(408, "the request did not arrive within " + std::to_string(seconds.count()) + " s");
}

void Connection::end() {
    ending_ = true;
    if (phase_ == Phase::idle) read();
    if (phase_ == Phase::idle || phase_ == Phase::handshake) return close();
    if (phase_ == Phase::reading) return refuse(503, no_longer);
    keep_alive_ = false;
}

// ---- TLS ----------------------------------------------------------------------------------------

void Connection::shake_hands() {
    switch (tls_->handshake().outcome) {
        case Moved::Outcome::done:
            owner_.enter(*this, Phase::idle);
            return read();
        case Moved::Outcome::wait_readable:
            return wait_readable();
        case Moved::Outcome::wait_writable:
            return wait_writable();
        case Moved::Outcome::end:
            return close();
        case Moved::Outcome::failed:
            if (tls_->peer_spoke_http()) return refuse_plain_http();
            owner_.count_refusal();
            return close();
    }
}

void Connection::refuse_plain_http() {
    tls_.reset();
    refuse(400, "this address speaks HTTPS, the request came without TLS");
}

// ---- reading ------------------------------------------------------------------------------------

Moved Connection::read_some() {
    const std::span<char> into = owner_.input();
    if (tls_) return tls_->read(into);
    const ssize_t count = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
    if (count > 0) return {Moved::Outcome::done, static_cast<std::size_t>(count)};
    if (count == 0) return {Moved::Outcome::end};
    if (errno == EAGAIN || errno == EINTR) return {Moved::Outcome::wait_readable};
    return {Moved::Outcome::failed};
}

// One piece each time, so that nobody keeps the thread to himself. What is left makes the socket
// readable at once: TLS reads no more than one record, and the buffer is larger than that.
void Connection::read() {
    const Moved moved = read_some();
    switch (moved.outcome) {
        case Moved::Outcome::done:
            if (phase_ != Phase::leaving) {
                take(std::string_view(owner_.input().data(), moved.bytes));
            }
            break;
        case Moved::Outcome::wait_readable:
            break;
        case Moved::Outcome::wait_writable:
            return wait_writable();
        case Moved::Outcome::end:
            return on_end();
        case Moved::Outcome::failed:
            return close();
    }
    account();
    wait_for_more();
}

// Many clients that each stay within their limits may still be too much for the machine.
void Connection::account() {
    if (closed_) return;
    const std::size_t bytes = room_of(early_) + request_bytes_ + (parser_ ? parser_->bytes() : 0) +
                              (output_ ? output_->size() : 0);
    owner_.count_bytes(accounted_, bytes);
    accounted_ = bytes;
    if (phase_ == Phase::reading && !owner_.has_room()) refuse(503, no_room);
}

// A client that sends ahead of its answers waits when so much has come.
void Connection::wait_for_more() {
    const bool ahead = phase_ == Phase::busy || phase_ == Phase::writing;
    if (!ahead || early_.size() < owner_.settings().max_header) wait_readable();
}

// A client that sends nothing more may still wait for answers, however long they take.
void Connection::on_end() {
    if (phase_ != Phase::busy && phase_ != Phase::writing) return close();
    client_finished_ = true;
    if (phase_ == Phase::busy) owner_.enter(*this, Phase::busy);
    probe();
    wait_gone();
}

// The kernel of a client that has closed answers with a reset, when it has forgotten the
// connection: after a minute, mostly.
void Connection::probe() {
    const int on = 1;
    const int seconds = static_cast<int>(owner_.settings().probe_interval.count());
    const int socket = socket_.native_handle();
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

void Connection::take(std::string_view input) {
    if (phase_ == Phase::busy || phase_ == Phase::writing) {
        early_.append(input);
    } else if (early_.empty()) {
        early_.assign(consume(input));
    } else {
        early_.append(input);
        keep_early(consume(early_));
    }
}

void Connection::keep_early(std::string_view rest) {
    if (rest.empty()) {
        give_up(early_);
    } else {
        early_.erase(0, early_.size() - rest.size());
    }
}

// Returns what has to wait.
std::string_view Connection::consume(std::string_view input) {
    while (phase_ == Phase::idle || phase_ == Phase::reading) {
        if (phase_ == Phase::idle) {
            // Some clients end a body with a line end that does not belong to it.
            input.remove_prefix(std::min(input.find_first_not_of("\r\n"), input.size()));
            if (input.empty()) break;
            parser_ = owner_.take_parser();
            parser_->begin(owner_.settings().max_header, owner_.settings().max_body);
            refusal_ = 0;
            owner_.enter(*this, Phase::reading);
        }
        const auto [step, used] = parser_->parse(input);
        input.remove_prefix(used);
        switch (step) {
            case RequestParser::Step::more:
                return input;
            case RequestParser::Step::header:
                on_header(!input.empty());
                break;
            case RequestParser::Step::done:
                on_request();
                break;
            case RequestParser::Step::failed:
                refuse(parser_->status(), parser_->message());
                break;
        }
    }
    return closed_ || phase_ == Phase::leaving ? std::string_view() : input;
}

void Connection::on_header(bool body_arrived) {
    keep_alive_ = parser_->keep_alive();
    http_1_0_ = parser_->http_1_0();
    refusal_ = owner_.refusal(*parser_);
    parser_->forget_fields();  // nobody counts them while the body comes
    if (refusal_ != 0) parser_->ignore_body();
    if (!parser_->expects_continue() || http_1_0_ || body_arrived) return;
    // The client does not send the body before it is told to.
    if (refusal_ != 0) return refuse(refusal_, refusal_message(refusal_));
    static constexpr std::string_view go_ahead = "HTTP/1.1 100 Continue\r\n\r\n";
    // Nothing else is on its way to this client, so there is room for it.
    if (write_some(go_ahead, {}).bytes != go_ahead.size()) close();
}

void Connection::on_request() {
    HttpRequest request;
    request.method = parser_->take_method();
    request.target = parser_->take_target();
    request.body = parser_->take_body();
    request.received = std::chrono::steady_clock::now();
    owner_.give_back(std::move(parser_));
    head_ = request.method == "HEAD";
    if (refusal_ != 0) {
        owner_.count_refusal();
        return send(header_of(refusal_), message_json(refusal_message(refusal_)));
    }
    request_bytes_ = room_of(request.method) + room_of(request.target) + room_of(request.body);
    owner_.count_bytes(accounted_, request_bytes_);
    accounted_ = request_bytes_;
    if (!owner_.has_room()) return refuse(503, no_room);
    owner_.enter(*this, Phase::busy);
    owner_.hand_over(*this, std::move(request));
}

// After an answer: the next request, if it is here already.
void Connection::go_on() {
    if (phase_ == Phase::idle && !early_.empty()) {
        keep_early(consume(early_));
    }
    if (client_finished_ && (phase_ == Phase::idle || phase_ == Phase::reading)) return close();
    account();
    if (!client_finished_) wait_for_more();
}

// ---- writing ------------------------------------------------------------------------------------

void Connection::refuse(unsigned status, std::string_view message) {
    owner_.count_refusal();
    std::string body = message_json(message);  // before its parser goes
    if (parser_) owner_.give_back(std::move(parser_));
    keep_alive_ = false;
    head_ = false;
    request_bytes_ = 0;
    send(header_of(status), std::move(body));
}

void Connection::answer(HttpAnswer answer) {
    request_bytes_ = 0;
    AnswerHeader header = header_of(answer.status);
    header.content_type = answer.content_type;
    header.location = answer.location;
    send(header, std::move(answer.body));
    if (!closed_ && phase_ != Phase::writing) go_on();
}

void Connection::forget_request() noexcept {
    owner_.count_bytes(request_bytes_, 0);
    accounted_ -= request_bytes_;
    request_bytes_ = 0;
}

// In one write, where the kernel takes it.
void Connection::send(AnswerHeader header, std::string body) {
    if (ending_) keep_alive_ = false;
    header.content_length = body.size();
    header.keep_alive = keep_alive_;
    header.http_1_0 = http_1_0_;
    std::string& head = owner_.output();
    head.clear();
    append(head, header, owner_.date());
    if (head_) body.clear();
    if (tls_) {
        head += body;
        body.clear();
    }
    const Moved moved = write_some(head, body);
    if (moved.outcome == Moved::Outcome::done && moved.bytes == head.size() + body.size()) {
        return on_sent();
    }
    if (moved.outcome != Moved::Outcome::done && moved.outcome != Moved::Outcome::wait_writable) {
        return close();
    }
    output_ = std::make_unique<Output>(Output{head, std::move(body), moved.bytes});
    output_->set_goal();
    owner_.enter(*this, Phase::writing);
    account();
    wait_writable();
}

Moved Connection::write_some(std::string_view first, std::string_view second) {
    if (tls_) return tls_->write(first.empty() ? second : first);
    std::array<iovec, 2> pieces{{{const_cast<char*>(first.data()), first.size()},
                                 {const_cast<char*>(second.data()), second.size()}}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
    if (count >= 0) return {Moved::Outcome::done, static_cast<std::size_t>(count)};
    if (errno == EAGAIN || errno == EINTR) return {Moved::Outcome::wait_writable};
    return {Moved::Outcome::failed};
}

void Connection::flush() {
    Output& output = *output_;
    while (output.sent < output.size()) {
        const std::size_t of_head = std::min(output.sent, output.head.size());
        const Moved moved = write_some(std::string_view(output.head).substr(of_head),
                                       std::string_view(output.body).substr(output.sent - of_head));
        if (moved.outcome == Moved::Outcome::wait_writable) {
            if (output.sent >= output.goal) {
                output.set_goal();
                owner_.enter(*this, Phase::writing);  // a new deadline
            }
            return wait_writable();
        }
        if (moved.outcome != Moved::Outcome::done) return close();
        output.sent += moved.bytes;
    }
    output_.reset();
    on_sent();
}

void Connection::on_sent() {
    if (!keep_alive_) return leave();
    owner_.enter(*this, Phase::idle);
}

// The client closes first: what it sent and nobody reads would otherwise reset the connection, and
// it might lose the answer.
void Connection::leave() {
    if (client_finished_) return close();
    if (tls_) tls_->shutdown();
    ::shutdown(socket_.native_handle(), SHUT_WR);
    owner_.enter(*this, Phase::leaving);
    wait_readable();
}

}  // namespace dtm::net
