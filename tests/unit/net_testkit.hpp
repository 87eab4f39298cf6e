// What the tests of the network client share: calls, and a caller that waits for answers.
#pragma once

#include "fault_server.hpp"
#include "net/client.hpp"

#include <gtest/gtest.h>

#include <poll.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace dtm::net::test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A test that is stuck fails after this time; no test depends on how fast it is.
inline constexpr auto patience = 30s;

inline Headers make_headers(std::vector<std::string> lines) {
    return std::make_shared<const std::vector<std::string>>(std::move(lines));
}

inline Call make_call(std::uint64_t id, std::string url, std::chrono::milliseconds timeout = 20s) {
    Call call;
    call.id = id;
    call.url = std::move(url);
    call.timeout = timeout;
    call.headers = make_headers({"Content-Type: application/json", "Accept: application/json"});
    return call;
}

inline Call make_post(std::uint64_t id, std::string url, std::string body) {
    Call call = make_call(id, std::move(url));
    const auto kept = std::make_shared<const std::string>(std::move(body));
    call.post = true;
    call.body = *kept;
    call.keep = kept;
    return call;
}

class Caller {
public:
    explicit Caller(Settings settings = {}) : client(std::move(settings)) {}

    void send(Call call) {
        std::vector<Call> calls;
        calls.push_back(std::move(call));
        client.submit(calls);
        EXPECT_TRUE(calls.empty());
    }

    // Replies in order of arrival, as soon as there are `count` of them (or patience is over).
    const std::vector<Reply>& wait_for(std::size_t count) {
        const auto end = Clock::now() + patience;
        while (replies.size() < count && Clock::now() < end) {
            pollfd wait{client.ready_fd(), POLLIN, 0};
            ::poll(&wait, 1, 100);
            client.drain(replies);
        }
        EXPECT_GE(replies.size(), count);
        if (replies.size() < count) replies.resize(count);
        return replies;
    }

    Reply ask(Call call) {
        replies.clear();
        send(std::move(call));
        return wait_for(1)[0];
    }

    Client client;
    std::vector<Reply> replies;
};

}  // namespace dtm::net::test
