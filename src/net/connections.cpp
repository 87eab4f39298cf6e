#include "net/connections.hpp"

#include "net/asio.hpp"
#include "net/room.hpp"

#include <openssl/crypto.h>

#include <algorithm>
#include <new>

namespace dtm::net {

namespace {

// A parser that reads no request keeps a few hundred bytes.
constexpr std::size_t max_idle_parsers = 256;

// Output of the usual size is kept from answer to answer.
constexpr std::size_t max_idle_output = 256UL * 1024;

// How long a client gets to close after its last answer.
constexpr std::chrono::milliseconds leave_timeout{1000};

// ASCII; of other characters some are taken for each other.
bool equal_letters(std::string_view one, std::string_view other) {
    return std::ranges::equal(one, other, [](char a, char b) { return (a | 0x20) == (b | 0x20); });
}

// Browsers say for whose page they send a request; other programs do not. Sec-Fetch-Site is there
// where Origin is not: an image or a link may be a GET that changes something.
bool of_another_origin(const RequestParser& request) {
    const std::string_view site = request.fetch_site();
    if (site == "cross-site" || site == "same-site") return true;
    const std::string_view origin = request.origin();
    if (origin.empty()) return false;
    const std::size_t scheme = origin.find("://");
    return scheme == origin.npos || !equal_letters(origin.substr(scheme + 3), request.host());
}

// Whoever owns a domain lets its name mean our address, and then pages from there ask us about
// themselves: to the browser nothing is foreign in it.
bool by_a_name(std::string_view host) {
    if (!host.starts_with('[')) {
        host = host.substr(0, host.find(':'));
        if (equal_letters(host, "localhost")) return false;
    } else {
        host = host.substr(1, host.find(']') - 1);
    }
    boost::system::error_code no_address;
    boost::asio::ip::make_address(std::string(host), no_address);
    return no_address.failed();
}

}  // namespace

Connections::Connections(boost::asio::io_context& io) : io_(io) {
    parsers_.reserve(max_idle_parsers);
}

Connections::~Connections() {
    for (Slot& slot : slots_) {
        if (slot.connection) boost::intrusive_ptr(slot.connection)->close();
    }
}

void Connections::configure(const ServerSettings& settings) { settings_ = settings; }

void Connections::end(Which which) {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        const boost::intrusive_ptr<Connection> connection = slots_[i].connection;
        if (!connection || (which == Which::without_tls && connection->secure())) continue;
        try {
            connection->end();
        } catch (...) {
            connection->close();
        }
    }
}

void Connections::add(UniqueFd socket, const TlsContext* tls,
                      std::size_t max_connections) noexcept {
    ++accepted_;
    if (count_ >= max_connections) {
        ++refused_;
        // Most clients that send nothing more have closed, and nobody waits.
        if (finished_.empty()) return;
        boost::intrusive_ptr(&finished_.front())->close();
    }
    boost::intrusive_ptr<Connection> connection;
    try {
        if (free_slots_.empty()) {
            // closed() gives slots back and must not fail.
            if (free_slots_.capacity() == slots_.size()) {
                free_slots_.reserve(std::max<std::size_t>(64, 2 * slots_.size()));
            }
            slots_.emplace_back();
            free_slots_.push_back(static_cast<std::uint32_t>(slots_.size() - 1));
        }
        connection = new Connection(*this, io_, std::move(socket), tls);
        connection->slot_ = free_slots_.back();
        free_slots_.pop_back();
        slots_[connection->slot_].connection = connection;
        ++count_;
        connection->start();
    } catch (...) {
        if (connection) connection->close();
    }
}

void Connections::lost(const Connection& connection) noexcept {
    try {
        gone_.push_back(request_id(connection.slot_, slots_[connection.slot_].requests));
    } catch (...) {  // no memory: the answer is dropped when it comes
    }
}

void Connections::closed(Connection& connection) noexcept {
    connection.unlink();
    slots_[connection.slot_].connection.reset();  // whoever called the connection keeps it
    free_slots_.push_back(connection.slot_);
    --count_;
}

// ---- requests and answers -----------------------------------------------------------------------

unsigned Connections::refusal(const RequestParser& request) const {
    if (!settings_.token.empty()) {
        return authorized(request.target(), request.authorization()) ? 0 : 401;
    }
    if (of_another_origin(request)) return 403;
    const bool by_browser =
        request.from_browser() || !request.origin().empty() || !request.fetch_site().empty();
    // With TLS the certificate has told the browser whose name it is.
    return by_browser && settings_.certificate.empty() && by_a_name(request.host()) ? 403 : 0;
}

bool Connections::authorized(std::string_view target, std::string_view authorization) const {
    if (target.substr(0, target.find('?')) == "/api/ping") return true;
    constexpr std::size_t scheme = 7;
    if (!equal_letters(authorization.substr(0, scheme), "bearer ")) return false;
    authorization.remove_prefix(scheme);
    // How long this takes tells nothing but the length.
    return authorization.size() == settings_.token.size() &&
           CRYPTO_memcmp(authorization.data(), settings_.token.data(), authorization.size()) == 0;
}

void Connections::hand_over(Connection& connection, HttpRequest request) {
    Slot& slot = slots_[connection.slot_];
    request.id = request_id(connection.slot_, ++slot.requests);
    arrived_.push_back(std::move(request));
    ++requests_;
}

boost::intrusive_ptr<Connection> Connections::find(std::uint64_t id) const {
    const auto slot = static_cast<std::uint32_t>(id);
    if (slot >= slots_.size() || slots_[slot].requests != id >> 32) return nullptr;
    const auto& connection = slots_[slot].connection;
    if (!connection || connection->phase() != Connection::Phase::busy) return nullptr;
    return connection;
}

void Connections::answer(HttpAnswer answer) noexcept {
    const auto connection = find(answer.id);
    if (!connection) return;
    if (answer.kind == HttpAnswer::Kind::none) return connection->close();
    if (answer.kind == HttpAnswer::Kind::later) return connection->forget_request();
    try {
        connection->answer(std::move(answer));
    } catch (...) {
        connection->close();
    }
    if (output_.capacity() > max_idle_output) give_up(output_);
}

void Connections::abandon(std::uint64_t id) noexcept {
    if (const auto connection = find(id)) connection->close();
}

std::unique_ptr<RequestParser> Connections::take_parser() {
    if (parsers_.empty()) return std::make_unique<RequestParser>();
    std::unique_ptr<RequestParser> parser = std::move(parsers_.back());
    parsers_.pop_back();
    return parser;
}

void Connections::give_back(std::unique_ptr<RequestParser> parser) noexcept {
    if (parsers_.size() >= max_idle_parsers) return;
    parser->clear();
    parsers_.push_back(std::move(parser));
}

// ---- deadlines ----------------------------------------------------------------------------------

Connections::List* Connections::list_of(const Connection& connection) {
    switch (connection.phase()) {
        case Connection::Phase::handshake:
        case Connection::Phase::reading:
            return &reading_;
        case Connection::Phase::idle:
            return &idle_;
        case Connection::Phase::writing:
            return &writing_;
        case Connection::Phase::leaving:
            return &leaving_;
        case Connection::Phase::busy:
            return connection.client_finished() ? &finished_ : nullptr;
    }
    return nullptr;
}

void Connections::enter(Connection& connection, Connection::Phase phase) {
    connection.phase_ = phase;
    connection.since_ = std::chrono::steady_clock::now();
    connection.unlink();
    if (List* list = list_of(connection)) list->push_back(connection);
}

std::array<Connections::Deadline, 4> Connections::deadlines() {
    return {{{idle_, settings_.idle_timeout},
             {reading_, settings_.request_timeout},
             {writing_, settings_.request_timeout},
             {leaving_, leave_timeout}}};
}

void Connections::expire(Time now) noexcept {
    for (const auto& [list, timeout] : deadlines()) {
        while (!list.empty() && list.front().since() + timeout <= now) {
            const boost::intrusive_ptr<Connection> connection(&list.front());
            try {
                connection->expire();
            } catch (...) {
                connection->close();
            }
        }
    }
}

Connections::Time Connections::deadline() {
    Time first = Time::max();
    for (const auto& [list, timeout] : deadlines()) {
        if (!list.empty()) first = std::min(first, list.front().since() + timeout);
    }
    return first;
}

}  // namespace dtm::net
