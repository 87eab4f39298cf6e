#include "net/loop.hpp"

#include "crash_point.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <new>
#include <stdexcept>
#include <system_error>

namespace dtm::net {

namespace {

using Clock = std::chrono::steady_clock;

// An idle transfer holds a few kilobytes. More than this many are made again when they are needed.
constexpr std::size_t max_idle_transfers = 1024;

// Idle keep-alive connections, each a descriptor. libcurl closes the oldest above it.
constexpr long max_idle_connections = 1024;

// How often it looks around while there is little room.
constexpr std::chrono::milliseconds crowded_wait{200};

// How long nothing starts after there was no descriptor or no memory for a call.
constexpr std::chrono::milliseconds starved_wait{100};

// A new connection costs some 30 microseconds here: answers of running calls do not wait for more
// of them.
constexpr std::size_t max_starts_per_round = 128;

void check(CURLMcode code, const char* what) {
    if (code != CURLM_OK) {
        throw std::runtime_error(std::string(what) + ": " + curl_multi_strerror(code));
    }
}

}  // namespace

Loop::Loop(Settings settings, int wake_fd)
    : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_fd_(wake_fd), multi_(curl_multi_init()) {
    if (!epoll_) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    if (!multi_) throw std::runtime_error("libcurl cannot make a multi handle");
    epoll_event event{};
    // Edge-triggered: every write to the eventfd is an event and nobody needs to read it.
    event.events = EPOLLIN | EPOLLET;
    event.data.fd = wake_fd_;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_fd_, &event) != 0) {
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }
    check(curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETFUNCTION, &Loop::on_socket),
          "socket function");
    check(curl_multi_setopt(multi_.get(), CURLMOPT_SOCKETDATA, this), "socket data");
    check(curl_multi_setopt(multi_.get(), CURLMOPT_TIMERFUNCTION, &Loop::on_timer),
          "timer function");
    check(curl_multi_setopt(multi_.get(), CURLMOPT_TIMERDATA, this), "timer data");
    configure(std::move(settings));
}

Loop::~Loop() {
    // Nobody gets an answer any more. Handles leave the multi handle before it goes.
    for (auto& [key, transfer] : running_) curl_multi_remove_handle(multi_.get(), transfer->easy());
    running_.clear();
    idle_.clear();
    multi_.reset();  // closes the connections, which reports to sockets_
}

void Loop::configure(Settings settings) {
    settings_ = std::move(settings);
    // The other half is for what else the process has open: files, clients, name servers.
    settings_.max_in_flight = static_cast<std::uint32_t>(
        std::min<std::size_t>(settings_.max_in_flight, descriptors_ / 2));
    queues_.set_room(settings_.max_held, settings_.max_held_bytes);
    queues_.set_limits(settings_.max_in_flight, settings_.max_in_flight_per_host);
    queues_.set_breaker({settings_.breaker_errors, settings_.breaker_longest});
    check(curl_multi_setopt(multi_.get(), CURLMOPT_MAXCONNECTS,
                            std::clamp<long>(static_cast<long>(settings_.max_in_flight), 16,
                                             max_idle_connections)),
          "connection cache");
}

bool Loop::run_once(std::vector<Reply>& replies, Time until) {
    const bool more = start_waiting_calls(replies);
    // A call may be over before anybody waits: it could not start, or its answer was there at once.
    collect(replies);
    if (!replies.empty()) return true;
    const bool happened = wait_and_dispatch(more ? Time::min() : until);
    collect(replies);
    return more || happened || !replies.empty();
}

// ---- calls --------------------------------------------------------------------------------------

bool Loop::start_waiting_calls(std::vector<Reply>& replies) {
    const Time now = Clock::now();
    queues_.shed(now);
    crowd_deadline_ = queues_.crowded() ? now + crowded_wait : Time::max();
    std::size_t started = 0;
    while (may_start(now) && started < max_starts_per_round) {
        auto next = queues_.take(Clock::now());
        if (!next) break;
        start(std::move(*next), replies);
        ++started;
    }
    queues_.take_returned(replies);
    // One kick for all of them: libcurl gave each a timer that is over already.
    if (started > 0) {
        act_on_timeout();
        DTM_CRASH_POINT("net.calls_started");
    }
    return started == max_starts_per_round;
}

bool Loop::may_start(Time now) {
    if (start_again_ <= now) start_again_ = Time::max();
    return start_again_ == Time::max() && !held_back_;
}

void Loop::start(HostQueues::Next next, std::vector<Reply>& replies) {
    const HostQueues::Place place = next.place;
    Reply failed;
    failed.id = next.call.id;
    try {
        std::unique_ptr<Transfer> transfer = idle_transfer();
        transfer->begin(std::move(next.call), place, settings_);
        Transfer* key = transfer.get();
        const auto entry = running_.emplace(key, std::move(transfer)).first;
        DTM_CRASH_POINT("net.call_starting");
        const CURLMcode code = curl_multi_add_handle(multi_.get(), key->easy());
        if (code == CURLM_OK) return;
        failed.error = curl_multi_strerror(code);
        running_.erase(entry);
    } catch (const std::exception& error) {
        failed.error = error.what();
    }
    queues_.given_up(place, Clock::now());
    replies.push_back(std::move(failed));
}

void Loop::collect(std::vector<Reply>& replies) {
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
        if (message->msg != CURLMSG_DONE) continue;
        CURL* easy = message->easy_handle;
        const CURLcode result = message->data.result;
        Transfer* transfer = nullptr;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
        curl_multi_remove_handle(multi_.get(), easy);  // `message` is gone from here on
        ended(*transfer, result, replies);
        connects_ += static_cast<std::uint64_t>(transfer->new_connections());
        auto node = running_.extract(transfer);
        keep_for_reuse(std::move(node.mapped()));
    }
    queues_.take_returned(replies);
}

void Loop::ended(Transfer& transfer, CURLcode result, std::vector<Reply>& replies) {
    const HostQueues::Place place = transfer.place();
    const Time now = Clock::now();
    const bool starved = transfer.is_starved(result);
    if (starved && !transfer.has_left()) {
        queues_.put_back(place, transfer.take_back(), now);
        start_again_ = now + starved_wait;
        return;
    }
    replies.push_back(transfer.finish(result));
    if (starved) return queues_.given_up(place, now);
    queues_.finished(place, replies.back(), now);
}

std::unique_ptr<Transfer> Loop::idle_transfer() {
    if (idle_.empty()) return std::make_unique<Transfer>(static_cast<SocketObserver&>(*this));
    std::unique_ptr<Transfer> transfer = std::move(idle_.back());
    idle_.pop_back();
    return transfer;
}

void Loop::keep_for_reuse(std::unique_ptr<Transfer> transfer) {
    if (idle_.size() < max_idle_transfers) idle_.push_back(std::move(transfer));
}

// ---- events -------------------------------------------------------------------------------------

namespace {

// For epoll_wait().
int milliseconds_until(Loop::Time time) {
    if (time == Loop::Time::max()) return -1;
    if (time == Loop::Time::min()) return 0;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now());
    return static_cast<int>(
        std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

}  // namespace

bool Loop::wait_and_dispatch(Time until) {
    std::array<epoll_event, 256> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   milliseconds_until(std::min(until, deadline())));
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == wake_fd_) continue;
        // An event may be stale: libcurl closed the descriptor, or opened another one with its
        // number, while this batch was worked on. libcurl looks for itself, its sockets do not
        // block.
        if (!socket(event.data.fd).wanted) {
            watch(event.data.fd, 0);
            continue;
        }
        int what = 0;
        if ((event.events & EPOLLIN) != 0) what |= CURL_CSELECT_IN;
        if ((event.events & EPOLLOUT) != 0) what |= CURL_CSELECT_OUT;
        // With IN, because libcurl finds out by reading: an error on a kept connection before the
        // first byte of an answer makes it try another connection, a bare ERR would end the call.
        if ((event.events & (EPOLLERR | EPOLLHUP)) != 0) what |= CURL_CSELECT_IN | CURL_CSELECT_ERR;
        act(event.data.fd, what);
    }
    if (curl_deadline_ && *curl_deadline_ <= Clock::now()) act_on_timeout();
    return count > 0;
}

void Loop::act(curl_socket_t fd, int events) {
    int running = 0;
    curl_multi_socket_action(multi_.get(), fd, events, &running);
    if (out_of_memory_) throw std::bad_alloc();
}

void Loop::act_on_timeout() {
    const auto before = curl_deadline_;
    act(CURL_SOCKET_TIMEOUT, 0);
    // libcurl reports its next deadline only when it has changed. If we came a moment too early for
    // its clock, nothing happened and nothing was reported: come back a millisecond later.
    if (curl_deadline_ && curl_deadline_ == before && *before <= Clock::now()) {
        curl_deadline_ = Clock::now() + std::chrono::milliseconds(1);
    }
}

int Loop::on_timer(CURLM*, long timeout_ms, void* self) noexcept {
    auto& loop = *static_cast<Loop*>(self);
    if (timeout_ms < 0) {
        loop.curl_deadline_.reset();
    } else {
        loop.curl_deadline_ = Clock::now() + std::chrono::milliseconds(timeout_ms);
    }
    return 0;
}

// ---- sockets ------------------------------------------------------------------------------------

Loop::Socket& Loop::socket(int fd) {
    const auto index = static_cast<std::size_t>(fd);
    if (index >= sockets_.size()) sockets_.resize(std::max<std::size_t>(index + 1, 256));
    return sockets_[index];
}

bool Loop::opened(int fd) noexcept {
    try {
        Socket& entry = socket(fd);
        entry = Socket();
        entry.ours = true;
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

void Loop::closing(int fd) noexcept {
    const auto index = static_cast<std::size_t>(fd);
    // close() takes it out of the epoll set.
    if (index < sockets_.size()) sockets_[index] = Socket();
}

// Between two requests libcurl takes its interest in a kept connection back, and gives it again
// with the next request. We leave such a socket in the epoll set: two system calls less for each
// request. When an event comes although nobody waits for one (the peer closed an idle connection),
// the socket is taken out then. That needs certainty that a descriptor is still the socket we think
// it is, so it is done only for those that are opened and closed through our callbacks; libcurl's
// resolver uses others.
void Loop::wish(int fd, int what) {
    Socket& entry = socket(fd);
    if (what == CURL_POLL_REMOVE) {
        entry.wanted = false;
        if (!entry.ours || entry.registered != EPOLLIN) watch(fd, 0);
        return;
    }
    std::uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT) events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT) events |= EPOLLOUT;
    entry.wanted = true;
    watch(fd, events);
}

int Loop::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
    auto& loop = *static_cast<Loop*>(self);
    try {
        loop.wish(fd, what);
    } catch (const std::bad_alloc&) {
        // It is one of libcurl's own, and we would hear nothing of it.
        loop.out_of_memory_ = true;
    }
    return 0;
}

void Loop::watch(int fd, std::uint32_t events) {
    Socket& entry = socket(fd);
    if (entry.registered == events) return;
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    const int operation = events == 0             ? EPOLL_CTL_DEL
                          : entry.registered == 0 ? EPOLL_CTL_ADD
                                                  : EPOLL_CTL_MOD;
    if (::epoll_ctl(epoll_.get(), operation, fd, &event) != 0 && events != 0) {
        // Only when our book-keeping is wrong; the other operation then is the right one.
        const int other = operation == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
        ::epoll_ctl(epoll_.get(), other, fd, &event);
    }
    entry.registered = events;
}

}  // namespace dtm::net
