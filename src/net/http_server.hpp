// The listener within the network thread: Boost.Asio's loop, which accepts connections and wakes
// those that have something to do, and libcurl's as well. Lives in that thread alone and is not
// thread-safe; who brings settings and answers and fetches requests is client.cpp's business.
#pragma once

#include "net/server.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dtm::net {

class HttpServer {
public:
    using Time = std::chrono::steady_clock::time_point;

    // `calls_fd` is readable when the loop of the calls has something to do. Throws
    // std::system_error.
    explicit HttpServer(int calls_fd);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    void configure(ServerSettings settings) noexcept;
    // Whether run() has a purpose: somebody listens, wants to, or is still connected.
    bool active() const;
    // Waits until something happens, calls_fd becomes readable, or `until`, and works on it.
    void run(Time until) noexcept;
    // calls_fd has become readable since the last time somebody asked.
    bool calls_ready();

    // The caller takes the requests out.
    std::vector<HttpRequest>& arrived();
    // Likewise the ids of requests whose clients left before the answer.
    std::vector<std::uint64_t>& gone();
    void answer(HttpAnswer answer) noexcept;
    // Nobody is going to answer this request.
    void abandon(std::uint64_t id) noexcept;
    // Of requests without an answer and of answers that have not gone.
    std::size_t buffered() const;
    ListenerState state() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dtm::net
