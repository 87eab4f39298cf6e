#include "net/client.hpp"

#include "crash_point.hpp"
#include "net/http_server.hpp"
#include "net/loop.hpp"
#include "net/unique_fd.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace dtm::net {

namespace {

UniqueFd make_eventfd() {
    UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!fd) throw std::system_error(errno, std::generic_category(), "eventfd");
    return fd;
}

void signal_eventfd(const UniqueFd& fd) {
    const std::uint64_t one = 1;
    while (::write(fd.get(), &one, sizeof one) < 0 && errno == EINTR) {}
}

void clear_eventfd(const UniqueFd& fd) {
    std::uint64_t count = 0;
    while (::read(fd.get(), &count, sizeof count) < 0 && errno == EINTR) {}
}

// Once per process and never undone: other parts of the process may use libcurl as well.
void initialise_libcurl() {
    static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (result != CURLE_OK) {
        throw std::runtime_error(std::string("libcurl: ") + curl_easy_strerror(result));
    }
}

// While it lives, threads that are made begin with all signals blocked: the process' signals stay
// with the thread that expects them (in PostgreSQL, the main one).
class BlockSignals {
public:
    BlockSignals() {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~BlockSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    BlockSignals(const BlockSignals&) = delete;
    BlockSignals& operator=(const BlockSignals&) = delete;

private:
    sigset_t before_;
};

// Leaves `from` empty. When it throws, because there is no memory, nothing was moved.
template <typename T>
void move_all(std::vector<T>& from, std::vector<T>& to) {
    if (to.empty()) {
        to.swap(from);
        return;
    }
    const std::size_t size = to.size() + from.size();
    if (size > to.capacity()) to.reserve(std::max(size, 2 * to.capacity()));
    for (T& one : from) to.push_back(std::move(one));
    from.clear();
}

std::size_t bytes_of(const std::vector<HttpAnswer>& answers) {
    std::size_t bytes = 0;
    for (const HttpAnswer& answer : answers) bytes += answer.body.size();
    return bytes;
}

using Clock = std::chrono::steady_clock;

// Of answers that nobody has fetched, because the other side waits for a commit, say. With so much
// of it no call starts; what is in flight comes on top.
constexpr std::size_t max_undrained = std::size_t{32} << 20;

std::size_t memory_of(const Reply& reply) {
    return sizeof reply + reply.body.size() + reply.error.size();
}

}  // namespace

// The two threads meet in `inbox` and `outbox`, each of which is swapped under its mutex, and in
// counters. Nobody holds a mutex for longer than that. A flag beside each tells whether the other
// side is awake already, so a burst costs one wake-up.
struct Client::Impl {
    struct Inbox {
        std::vector<Call> calls;
        std::vector<IdRange> recalls;  // of what is in the inbox, too
        std::vector<HttpAnswer> answers;
        std::optional<Settings> settings;
        std::optional<ServerSettings> server_settings;
    };

    explicit Impl(Settings settings) : loop(std::move(settings), wake_fd.get()) {
        const BlockSignals guard;
        thread = std::thread([this] { run(); });
    }

    ~Impl() {
        stopping.store(true);
        signal_eventfd(wake_fd);
        thread.join();
    }

    // Without memory the thread ends, and the other side hears of it: nobody knows which calls and
    // answers were lost on the way.
    void run() noexcept {
        try {
            work();
        } catch (const std::exception&) {
            broken.store(true);
            signal_eventfd(ready_fd);
        }
    }

    void work() {
        Inbox in;
        std::vector<Reply> replies;
        bool more = false;
        while (!stopping.load()) {
            fetch(in);
            const bool calls = !in.calls.empty();
            for (Call& call : in.calls) loop.add(std::move(call));
            in.calls.clear();
            loop.recall(in.recalls);
            loop.hold_back(undrained.load() >= max_undrained);
            in.recalls.clear();
            if (in.server_settings) configure_server(*std::exchange(in.server_settings, {}));
            if (!server || !server->active()) {
                loop.run_once(replies, server_again);
                drop(in.answers);
                if (server_again <= Clock::now()) configure_server(server_settings);
            } else {
                hand_out(in.answers);
                more = run_beside_server(replies, more || calls);
            }
            deliver(replies);
        }
    }

    void drop(std::vector<HttpAnswer>& answers) {
        if (answers.empty()) return;
        waiting_answers.fetch_sub(bytes_of(answers));
        answers.clear();
    }

    // Their bytes are counted all the time, here or there, and for a moment twice.
    void hand_out(std::vector<HttpAnswer>& answers) {
        if (answers.empty()) return;
        const std::size_t bytes = bytes_of(answers);
        for (HttpAnswer& answer : answers) server->answer(std::move(answer));
        answers.clear();
        buffered.store(server->buffered());
        waiting_answers.fetch_sub(bytes);
    }

    // While there is a listener, its loop is where this thread sleeps, and the loop of the calls is
    // looked at when it wants to. Whatever woke the latter may have come through the inbox, so
    // nobody sleeps before that has been looked at again.
    bool run_beside_server(std::vector<Reply>& replies, bool calls_wanted) {
        bool more = false;
        if (server->calls_ready() || calls_wanted || loop.deadline() <= Clock::now()) {
            more = loop.run_once(replies, Loop::Time::min());
        }
        server->run(more ? Loop::Time::min() : loop.deadline());
        return more;
    }

    void configure_server(ServerSettings settings) {
        server_again = Clock::time_point::max();
        if (!server) publish(ListenerState());
        try {
            if (!server && !settings.listen.empty()) {
                server = std::make_unique<HttpServer>(loop.fd());
            }
            if (!server) return;
            server->configure(std::move(settings));
            publish(server->state());
        } catch (const std::exception& error) {
            server_settings = std::move(settings);
            server_again = Clock::now() + std::chrono::seconds(1);
            ListenerState state;
            state.error = std::string("listen: ") + error.what();
            publish(std::move(state));
        }
    }

    // Puts something into the inbox.
    template <typename Put>
    void send(Put&& put) {
        bool wake = false;
        {
            const std::lock_guard lock(inbox_mutex);
            put(inbox);
            wake = !inbox_signalled;
            inbox_signalled = true;
        }
        if (wake) signal_eventfd(wake_fd);
    }

    void fetch(Inbox& in) {
        {
            const std::lock_guard lock(inbox_mutex);
            in.calls.swap(inbox.calls);
            in.recalls.swap(inbox.recalls);
            in.answers.swap(inbox.answers);
            in.server_settings.swap(inbox.server_settings);
            in.settings.swap(inbox.settings);
            inbox_signalled = false;
        }
        if (in.settings) loop.configure(*std::exchange(in.settings, {}));
    }

    void deliver(std::vector<Reply>& replies) {
        std::uint64_t errors = 0;
        for (const Reply& reply : replies)
            errors += reply.status == 0 && !reply.deferred && !reply.recalled ? 1 : 0;
        transport_errors.fetch_add(errors, std::memory_order_relaxed);
        replied.fetch_add(replies.size(), std::memory_order_relaxed);
        connects.store(loop.connects(), std::memory_order_relaxed);
        in_flight.store(loop.in_flight(), std::memory_order_relaxed);
        waiting.store(loop.waiting(), std::memory_order_relaxed);
        publish_endpoints();
        if (server) {
            buffered.store(server->buffered());
            publish(server->state());
        }
        if (!replies.empty()) {
            DTM_CRASH_POINT("net.answered");
            std::size_t bytes = 0;
            for (const Reply& reply : replies) bytes += memory_of(reply);
            const std::lock_guard lock(outbox_mutex);
            move_all(replies, outbox);
            undrained.fetch_add(bytes);
            signal_outbox();
        }
        if (server && !server->arrived().empty()) deliver_requests(server->arrived());
        if (server && !server->gone().empty()) deliver_gone(server->gone());
    }

    // The other side's requests may be many already, and the memory for one more vector may not be
    // there: then these clients are told by a closed connection.
    void deliver_requests(std::vector<HttpRequest>& arrived) noexcept {
        try {
            const std::lock_guard lock(outbox_mutex);
            move_all(arrived, requests);
            signal_outbox();
        } catch (const std::exception&) {
            for (const HttpRequest& request : arrived) server->abandon(request.id);
            arrived.clear();
        }
    }

    void deliver_gone(std::vector<std::uint64_t>& ids) noexcept {
        try {
            const std::lock_guard lock(outbox_mutex);
            move_all(ids, gone);
        } catch (const std::exception&) {  // no memory: they are told of later
        }
    }

    // With outbox_mutex.
    void signal_outbox() {
        if (outbox_signalled) return;
        outbox_signalled = true;
        signal_eventfd(ready_fd);
    }
    void outbox_taken() {
        if (!outbox_signalled || !outbox.empty() || !requests.empty()) return;
        clear_eventfd(ready_fd);
        outbox_signalled = false;
    }

    void publish(ListenerState state) {
        const std::lock_guard lock(outbox_mutex);
        server_state = std::move(state);
    }

    void publish_endpoints() {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_endpoints) {
            endpoints_changed.store(true);
            return;
        }
        next_endpoints = now + std::chrono::seconds(1);
        std::vector<Endpoint> seen = loop.endpoints();
        // What a breaker says changes with time alone.
        endpoints_changed.store(std::ranges::any_of(
            seen, [](const Endpoint& e) { return e.breaker != Breaker::State::closed; }));
        const std::lock_guard lock(outbox_mutex);
        endpoints.swap(seen);
    }

    UniqueFd wake_fd = make_eventfd();
    UniqueFd ready_fd = make_eventfd();

    std::mutex inbox_mutex;
    Inbox inbox;
    bool inbox_signalled = false;

    std::mutex outbox_mutex;
    std::vector<Reply> outbox;
    std::vector<HttpRequest> requests;
    std::vector<std::uint64_t> gone;
    ListenerState server_state;
    bool outbox_signalled = false;
    std::vector<Endpoint> endpoints;
    std::atomic<bool> endpoints_changed{false};            // since they were published
    std::chrono::steady_clock::time_point next_endpoints;  // the thread's own

    std::atomic<std::uint64_t> submitted{0}, replied{0}, transport_errors{0}, connects{0};
    std::atomic<std::uint32_t> in_flight{0}, waiting{0};
    std::atomic<std::size_t> undrained{0};        // bytes in `outbox`
    std::atomic<std::size_t> waiting_answers{0};  // bytes in the inbox and on their way out of it
    std::atomic<std::size_t> buffered{0};         // of the server
    std::atomic<bool> stopping{false}, broken{false};

    // After the constructor, the thread's own.
    Loop loop;
    std::unique_ptr<HttpServer> server;  // from the first time on that somebody wants to listen
    ServerSettings server_settings;      // for which there was no server to be had, and
    Clock::time_point server_again = Clock::time_point::max();  // when that is tried again
    std::thread thread;
};

Client::Client(Settings settings) {
    initialise_libcurl();
    impl_ = std::make_unique<Impl>(std::move(settings));
}

Client::~Client() = default;

void Client::submit(std::vector<Call>& calls) {
    if (calls.empty()) return;
    impl_->submitted.fetch_add(calls.size(), std::memory_order_relaxed);
    impl_->send([&](Impl::Inbox& inbox) { move_all(calls, inbox.calls); });
}

void Client::recall(std::vector<IdRange>& ids) {
    if (ids.empty()) return;
    impl_->send([&](Impl::Inbox& inbox) { move_all(ids, inbox.recalls); });
}

void Client::drain(std::vector<Reply>& replies) {
    if (impl_->broken.load()) {
        throw std::runtime_error("the network thread has ended for want of memory");
    }
    const std::lock_guard lock(impl_->outbox_mutex);
    move_all(impl_->outbox, replies);
    impl_->outbox_taken();
    if (impl_->undrained.exchange(0) >= max_undrained) signal_eventfd(impl_->wake_fd);
}

int Client::ready_fd() const { return impl_->ready_fd.get(); }

void Client::configure(Settings settings) {
    impl_->send([&](Impl::Inbox& inbox) { inbox.settings = std::move(settings); });
}

void Client::listen(ServerSettings settings) {
    impl_->send([&](Impl::Inbox& inbox) { inbox.server_settings = std::move(settings); });
}

void Client::take_requests(std::vector<HttpRequest>& requests) {
    const std::lock_guard lock(impl_->outbox_mutex);
    move_all(impl_->requests, requests);
    impl_->outbox_taken();
}

void Client::take_gone(std::vector<std::uint64_t>& ids) {
    const std::lock_guard lock(impl_->outbox_mutex);
    move_all(impl_->gone, ids);
}

void Client::answer(std::vector<HttpAnswer>& answers) {
    if (answers.empty()) return;
    const std::size_t bytes = bytes_of(answers);
    impl_->waiting_answers.fetch_add(bytes);
    try {
        impl_->send([&](Impl::Inbox& inbox) { move_all(answers, inbox.answers); });
    } catch (...) {  // no memory: they are still the caller's
        impl_->waiting_answers.fetch_sub(bytes);
        throw;
    }
}

// In this order: what moves from the one to the other in between is seen twice, never missed.
std::size_t Client::buffered() const {
    const std::size_t waiting = impl_->waiting_answers.load();
    return waiting + impl_->buffered.load();
}

ListenerState Client::listener() const {
    const std::lock_guard lock(impl_->outbox_mutex);
    return impl_->server_state;
}

Stats Client::stats() const {
    Stats stats;
    stats.calls = impl_->submitted.load(std::memory_order_relaxed);
    stats.replies = impl_->replied.load(std::memory_order_relaxed);
    stats.transport_errors = impl_->transport_errors.load(std::memory_order_relaxed);
    stats.connects = impl_->connects.load(std::memory_order_relaxed);
    stats.in_flight = impl_->in_flight.load(std::memory_order_relaxed);
    stats.queued = impl_->waiting.load(std::memory_order_relaxed);
    return stats;
}

std::vector<Endpoint> Client::endpoints() const {
    // A thread without work sleeps: let it look for whoever asks next.
    if (impl_->endpoints_changed.exchange(false)) signal_eventfd(impl_->wake_fd);
    const std::lock_guard lock(impl_->outbox_mutex);
    return impl_->endpoints;
}

}  // namespace dtm::net
