#include "net/client.hpp"

#include "crash_point.hpp"
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

}  // namespace

// The two threads meet in `inbox` and `outbox`, each a vector that is swapped under its mutex, and
// in counters. Nobody holds a mutex for longer than that. A flag beside each vector tells whether
// the other side is awake already, so a burst costs one wake-up.
struct Client::Impl {
    explicit Impl(Settings settings) : loop(std::move(settings), wake_fd.get()) {
        const BlockSignals guard;
        thread = std::thread([this] { run(); });
    }

    ~Impl() {
        stopping.store(true);
        signal_eventfd(wake_fd);
        thread.join();
    }

    void run() noexcept {
        std::vector<Call> calls;
        std::vector<IdRange> recalls;
        std::vector<Reply> replies;
        while (!stopping.load()) {
            fetch(calls, recalls);
            for (Call& call : calls) loop.add(std::move(call));
            calls.clear();
            loop.recall(recalls);
            recalls.clear();
            loop.run_once(replies);
            deliver(replies);
        }
    }

    void fetch(std::vector<Call>& calls, std::vector<IdRange>& recalls) {
        std::optional<Settings> changed;
        {
            const std::lock_guard lock(inbox_mutex);
            calls.swap(inbox);
            recalls.swap(recall_inbox);
            changed.swap(new_settings);
            inbox_signalled = false;
        }
        if (changed) loop.configure(std::move(*changed));
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
        if (replies.empty()) return;
        DTM_CRASH_POINT("net.answered");
        const std::lock_guard lock(outbox_mutex);
        if (outbox.empty()) {
            outbox.swap(replies);
        } else {
            for (Reply& reply : replies) outbox.push_back(std::move(reply));
        }
        replies.clear();
        if (!outbox_signalled) {
            outbox_signalled = true;
            signal_eventfd(ready_fd);
        }
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
            seen, [](const Endpoint& e) { return e.breaker != Endpoint::Breaker::closed; }));
        const std::lock_guard lock(outbox_mutex);
        endpoints.swap(seen);
    }

    UniqueFd wake_fd = make_eventfd();
    UniqueFd ready_fd = make_eventfd();

    std::mutex inbox_mutex;
    std::vector<Call> inbox;
    std::vector<IdRange> recall_inbox;  // of what is in the inbox, too
    std::optional<Settings> new_settings;
    bool inbox_signalled = false;

    std::mutex outbox_mutex;
    std::vector<Reply> outbox;
    bool outbox_signalled = false;
    std::vector<Endpoint> endpoints;
    std::atomic<bool> endpoints_changed{false};            // since they were published
    std::chrono::steady_clock::time_point next_endpoints;  // the thread's own

    std::atomic<std::uint64_t> submitted{0}, replied{0}, transport_errors{0}, connects{0};
    std::atomic<std::uint32_t> in_flight{0}, waiting{0};
    std::atomic<bool> stopping{false};

    Loop loop;  // after the constructor, the thread's own
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
    bool wake = false;
    {
        const std::lock_guard lock(impl_->inbox_mutex);
        if (impl_->inbox.empty()) {
            impl_->inbox.swap(calls);
        } else {
            for (Call& call : calls) impl_->inbox.push_back(std::move(call));
        }
        wake = !impl_->inbox_signalled;
        impl_->inbox_signalled = true;
    }
    calls.clear();
    if (wake) signal_eventfd(impl_->wake_fd);
}

void Client::recall(std::vector<IdRange>& ids) {
    if (ids.empty()) return;
    bool wake = false;
    {
        const std::lock_guard lock(impl_->inbox_mutex);
        std::vector<IdRange>& inbox = impl_->recall_inbox;
        inbox.insert(inbox.end(), ids.begin(), ids.end());
        wake = !impl_->inbox_signalled;
        impl_->inbox_signalled = true;
    }
    ids.clear();
    if (wake) signal_eventfd(impl_->wake_fd);
}

void Client::drain(std::vector<Reply>& replies) {
    const std::lock_guard lock(impl_->outbox_mutex);
    if (impl_->outbox_signalled) {
        clear_eventfd(impl_->ready_fd);
        impl_->outbox_signalled = false;
    }
    if (replies.empty()) {
        replies.swap(impl_->outbox);
    } else {
        for (Reply& reply : impl_->outbox) replies.push_back(std::move(reply));
    }
    impl_->outbox.clear();
}

int Client::ready_fd() const { return impl_->ready_fd.get(); }

void Client::configure(Settings settings) {
    {
        const std::lock_guard lock(impl_->inbox_mutex);
        impl_->new_settings = std::move(settings);
    }
    signal_eventfd(impl_->wake_fd);
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
