#include "net/http_server.hpp"

#include "net/asio.hpp"
#include "net/connections.hpp"
#include "net/descriptors.hpp"
#include "net/listening.hpp"
#include "net/tls.hpp"
#include "net/unique_fd.hpp"

#include <malloc.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace dtm::net {

namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using Executor = asio::io_context::executor_type;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Timer = asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>;

constexpr std::chrono::milliseconds open_again_after{1000};
constexpr std::chrono::milliseconds accept_again_after{100};
constexpr std::chrono::milliseconds memory_again_after{10};

// So much happens before somebody else has a turn: calls, and the requests that have come. A
// handshake of TLS takes as long as a hundred requests.
constexpr int max_events_per_run = 256;
constexpr int events_between_looks = 16;
constexpr std::chrono::milliseconds max_run{10};
constexpr int max_accepts_at_once = 64;

// So much has been buffered, and no more than that is, when the heap gives back the pages that are
// free between others: it would keep them for what comes next.
constexpr std::size_t many_bytes = 64UL << 20;
constexpr std::size_t few_bytes = 1UL << 20;

}  // namespace

struct HttpServer::Impl {
    explicit Impl(int fd) : calls(io, fd) {}
    ~Impl() { calls.release(); }  // not ours

    void configure(ServerSettings changed);
    void load_certificate(const ServerSettings& changed);
    void open(Time now);
    void replace(Listening listening);
    void stop_accepting();
    bool wants_to_listen() const { return !settings.listen.empty(); }
    bool wants_tls() const { return !settings.certificate.empty() || !settings.key.empty(); }
    bool may_listen() const;

    void run(Time until);
    Time deadline(Time until);
    void wait_for_calls();
    void wait_for_connections();
    void wake_at(Time time);
    void give_memory_back();

    void on_connections();
    void accept(int how_many);
    void pause(int code);
    std::size_t max_connections() const;

    // No locks: one thread. Before everything that Asio calls.
    asio::io_context io{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
    asio::executor_work_guard<Executor> stay = asio::make_work_guard(io);
    Connections connections{io};
    ServerSettings settings;

    Descriptor calls;
    bool calls_waited_for = false;
    bool calls_readable = false;

    std::optional<Descriptor> acceptor;
    std::uint64_t acceptor_number = 0;  // tells it from those that were closed
    bool acceptor_waited_for = false;
    std::string address;    // as it was asked for
    std::string listening;  // with the port, when the kernel chose it
    int port = 0;
    std::size_t descriptors = 1024;
    Time open_again = Time::max();
    Time accept_again = Time::max();

    bool quiet = true;  // Asio has nothing left to call
    bool had_many_bytes = false;
    Timer timer{io};
    Time timer_set = Time::max();

    std::optional<TlsContext> tls;
    std::string tls_error, open_error, accept_error;
};

// ---- settings -----------------------------------------------------------------------------------

// Whoever is still connected when nobody listens any more meets the token, TLS and the limits that
// were there.
void HttpServer::Impl::configure(ServerSettings changed) {
    if (changed.listen.empty()) {
        settings.listen.clear();
    } else {
        load_certificate(changed);
        settings = std::move(changed);
        connections.configure(settings);
    }
    open_again = Time::max();
    quiet = false;
    if (!wants_to_listen() || !may_listen()) {
        stop_accepting();
        open_error.clear();
        if (!wants_to_listen()) connections.end(Connections::Which::all);
    } else if (acceptor && address == settings.listen) {
        open_error.clear();
    } else {
        open(Clock::now());
    }
    if (wants_tls()) connections.end(Connections::Which::without_tls);
}

// One that cannot be used leaves the one before in use, if there is one: a mistake in a file must
// not stop what works.
void HttpServer::Impl::load_certificate(const ServerSettings& changed) {
    if (changed.certificate.empty() && changed.key.empty()) {
        tls.reset();
        tls_error.clear();
        return;
    }
    const bool same = changed.certificate == settings.certificate && changed.key == settings.key;
    if (same && tls) return;
    try {
        tls.emplace(TlsContext(changed.certificate, changed.key));
        tls_error.clear();
    } catch (const std::exception& error) {
        tls_error = error.what();
    }
}

// Nobody who asked for TLS is served without it.
bool HttpServer::Impl::may_listen() const { return tls.has_value() || !wants_tls(); }

// ---- opening and closing ------------------------------------------------------------------------

void HttpServer::Impl::open(Time now) {
    open_again = Time::max();
    try {
        std::optional<Listening> opened;
        try {
            opened = open_listening(settings.listen);
        } catch (const ListenError& error) {
            // The old address may be in the way of the new one: "*:1" and "127.0.0.1:1".
            const bool in_the_way = error.code == EADDRINUSE && acceptor &&
                                    settings.listen.ends_with(":" + std::to_string(port));
            if (!in_the_way) throw;
            stop_accepting();
            opened = open_listening(settings.listen);
        }
        replace(std::move(*opened));
        open_error.clear();
    } catch (const ListenError& error) {
        // Text that is no address does not become one.
        if (error.code != 0) open_again = now + open_again_after;
        open_error = error.what();
    } catch (const std::exception& error) {
        open_again = now + open_again_after;
        open_error = error.what();
    }
}

void HttpServer::Impl::replace(Listening opened) {
    Descriptor descriptor(io, opened.socket.get());
    opened.socket.release();
    descriptors = raise_descriptor_limit();
    stop_accepting();
    acceptor.emplace(std::move(descriptor));
    address = settings.listen;
    port = opened.port;
    listening = std::move(opened.address);
    wait_for_connections();
}

// Connections that the kernel has accepted for us belong to us.
void HttpServer::Impl::stop_accepting() {
    if (!acceptor) return;
    accept(1 << 16);
    acceptor.reset();
    ++acceptor_number;
    acceptor_waited_for = false;
    accept_again = Time::max();
    address.clear();
    port = 0;
    listening.clear();
    accept_error.clear();
}

// ---- accepting ----------------------------------------------------------------------------------

void HttpServer::Impl::wait_for_connections() {
    if (!acceptor || acceptor_waited_for || accept_again != Time::max()) return;
    acceptor->async_wait(Descriptor::wait_read,
                         [this, number = acceptor_number](const error_code&) {
                             if (number == acceptor_number) on_connections();
                         });
    acceptor_waited_for = true;
}

void HttpServer::Impl::on_connections() {
    acceptor_waited_for = false;
    accept(max_accepts_at_once);
}

// Half of what this process may open is for calls and for PostgreSQL's files.
std::size_t HttpServer::Impl::max_connections() const {
    return std::min<std::size_t>(settings.max_connections, descriptors / 2);
}

void HttpServer::Impl::accept(int how_many) {
    for (int i = 0; i < how_many; ++i) {
        UniqueFd socket(
            ::accept4(acceptor->native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!socket) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno != EAGAIN) pause(errno);
            return;
        }
        accept_error.clear();
        connections.add(std::move(socket), tls ? &*tls : nullptr, max_connections());
    }
}

// No descriptor or no memory is left, mostly: asking again at once would only cost time. The
// connections wait in the kernel.
void HttpServer::Impl::pause(int code) {
    accept_again = Clock::now() + accept_again_after;
    accept_error = "accept on " + listening + ": " + std::generic_category().message(code);
}

// ---- the loop -----------------------------------------------------------------------------------

// Asio asks the kernel anew each time it is told to wait for a descriptor, so what came before is
// not lost.
void HttpServer::Impl::wait_for_calls() {
    if (calls_waited_for) return;
    calls.async_wait(Descriptor::wait_read, [this](const error_code&) {
        calls_waited_for = false;
        calls_readable = true;
    });
    calls_waited_for = true;
}

// A timer that is too early is harmless and mostly not in the way of the next one, which is later:
// so it is set only for what is earlier.
void HttpServer::Impl::wake_at(Time time) {
    if (time >= timer_set) return;
    timer.expires_at(time);
    timer.async_wait([this](const error_code& error) {
        if (!error) timer_set = Time::max();
    });
    timer_set = time;
}

HttpServer::Time HttpServer::Impl::deadline(Time until) {
    return std::min({until, connections.deadline(), open_again, accept_again});
}

void HttpServer::Impl::run(Time until) {
    const Time now = Clock::now();
    // Whoever asks how things are is told of what this changes before the thread sleeps.
    const bool due = deadline(until) <= now;
    connections.expire(now);
    if (open_again <= now && wants_to_listen() && may_listen()) open(now);
    if (accept_again <= now) {
        accept_again = Time::max();
        accept(max_accepts_at_once);
    }
    wait_for_calls();
    wait_for_connections();
    int events = 0;
    quiet = false;
    if (!due && connections.arrived().empty()) {
        wake_at(deadline(until));
        events += static_cast<int>(io.run_one());
    }
    const Time end = Clock::now() + max_run;
    for (; events < max_events_per_run && !quiet; ++events) {
        if (events % events_between_looks == 0 && Clock::now() > end) break;
        quiet = io.poll_one() == 0;
    }
    give_memory_back();
}

void HttpServer::Impl::give_memory_back() {
    const std::size_t bytes = connections.buffered();
    if (bytes >= many_bytes) had_many_bytes = true;
    if (!had_many_bytes || bytes > few_bytes) return;
    had_many_bytes = false;
    ::malloc_trim(0);
}

HttpServer::HttpServer(int calls_fd) : impl_(std::make_unique<Impl>(calls_fd)) {}
HttpServer::~HttpServer() = default;

void HttpServer::configure(ServerSettings settings) noexcept {
    try {
        impl_->configure(std::move(settings));
    } catch (...) {  // no memory
        impl_->open_again = Clock::now() + open_again_after;
    }
}

bool HttpServer::active() const {
    return impl_->wants_to_listen() || impl_->connections.count() > 0 || !impl_->quiet;
}

void HttpServer::run(Time until) noexcept {
    try {
        impl_->run(until);
    } catch (...) {
        // No memory for what it takes to wait: calls have their turn, then it is tried again.
        impl_->calls_readable = true;
        std::this_thread::sleep_for(memory_again_after);
    }
}

bool HttpServer::calls_ready() { return std::exchange(impl_->calls_readable, false); }

std::vector<HttpRequest>& HttpServer::arrived() { return impl_->connections.arrived(); }

std::vector<std::uint64_t>& HttpServer::gone() { return impl_->connections.gone(); }

void HttpServer::answer(HttpAnswer answer) noexcept {
    impl_->connections.answer(std::move(answer));
}

void HttpServer::abandon(std::uint64_t id) noexcept { impl_->connections.abandon(id); }

std::size_t HttpServer::buffered() const { return impl_->connections.buffered(); }

ListenerState HttpServer::state() const {
    ListenerState state;
    state.listening = impl_->listening;
    for (const std::string* error : {&impl_->tls_error, &impl_->open_error, &impl_->accept_error}) {
        if (error->empty() || !impl_->wants_to_listen()) continue;
        if (!state.error.empty()) state.error += "; ";
        state.error += *error;
    }
    state.connections = static_cast<std::uint32_t>(impl_->connections.count());
    state.accepted = impl_->connections.accepted();
    state.requests = impl_->connections.requests();
    state.refused = impl_->connections.refused();
    return state;
}

}  // namespace dtm::net
