// The event loop of the network thread: libcurl's multi interface on an epoll set of our own. It
// lives in that thread alone and is not thread-safe. Calls go in, replies come out; who brings and
// fetches them is client.cpp's business.
#pragma once

#include "net/client.hpp"
#include "net/descriptors.hpp"
#include "net/host_queues.hpp"
#include "net/transfer.hpp"
#include "net/unique_fd.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

namespace dtm::net {

class Loop final : private SocketObserver {
public:
    using Time = std::chrono::steady_clock::time_point;

    // `wake_fd` is an eventfd; writing to it ends run_once()'s wait. Throws std::runtime_error.
    Loop(Settings settings, int wake_fd);
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    void configure(Settings settings);
    void add(Call call) { queues_.add(std::move(call), std::chrono::steady_clock::now()); }
    void recall(const std::vector<IdRange>& ids) { queues_.recall(ids); }
    // No call starts while this holds.
    void hold_back(bool yes) { held_back_ = yes; }
    // Starts what may start, waits for something to happen, but not beyond `until`, and appends the
    // answers that came. Returns whether there may be more to do at once: whoever waits elsewhere,
    // for fd() and until deadline(), looks at what woke this loop and comes back before he does.
    bool run_once(std::vector<Reply>& replies, Time until = Time::max());
    // Readable when there is something to do.
    int fd() const { return epoll_.get(); }
    // When there is something to do even if nothing happens.
    Time deadline() const {
        return std::min({curl_deadline_.value_or(Time::max()), crowd_deadline_, start_again_});
    }

    std::uint32_t in_flight() const { return queues_.in_flight(); }
    std::uint32_t waiting() const { return queues_.waiting(); }
    std::uint64_t connects() const { return connects_; }
    std::vector<Endpoint> endpoints() const {
        return queues_.endpoints(std::chrono::steady_clock::now());
    }

private:
    struct MultiDeleter {
        void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
    };
    // What epoll and libcurl know about a descriptor.
    struct Socket {
        std::uint32_t registered = 0;  // events in the epoll set; 0: not a member
        bool wanted = false;           // libcurl wants events
        bool ours = false;             // opened and closed through our callbacks
    };

    bool opened(int fd) noexcept override;
    void closing(int fd) noexcept override;
    static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept;
    static int on_timer(CURLM*, long timeout_ms, void* self) noexcept;

    // Makes room for it: throws std::bad_alloc.
    Socket& socket(int fd);
    void wish(int fd, int what);  // libcurl's, for events
    void watch(int fd, std::uint32_t events);
    // Returns whether there may be more to start.
    bool start_waiting_calls(std::vector<Reply>& replies);
    void start(HostQueues::Next next, std::vector<Reply>& replies);
    bool may_start(Time now);
    void collect(std::vector<Reply>& replies);
    void ended(Transfer& transfer, CURLcode result, std::vector<Reply>& replies);
    // Returns whether anything happened.
    bool wait_and_dispatch(Time until);
    void act(curl_socket_t fd, int events);
    void act_on_timeout();
    std::unique_ptr<Transfer> idle_transfer();
    void keep_for_reuse(std::unique_ptr<Transfer> transfer);

    Settings settings_;
    UniqueFd epoll_;
    int wake_fd_;
    std::vector<Socket> sockets_;  // by descriptor; before multi_, whose end reports to it
    std::unique_ptr<CURLM, MultiDeleter> multi_;
    HostQueues queues_;
    std::unordered_map<Transfer*, std::unique_ptr<Transfer>> running_;
    std::vector<std::unique_ptr<Transfer>> idle_;
    std::optional<Time> curl_deadline_;
    Time crowd_deadline_ = Time::max();  // when slow hosts give back what is too much
    Time start_again_ = Time::max();     // no call starts before: there was no descriptor for it
    bool held_back_ = false;
    bool out_of_memory_ = false;  // in a callback, which may not throw
    std::size_t descriptors_ = raise_descriptor_limit();
    std::uint64_t connects_ = 0;
};

}  // namespace dtm::net
