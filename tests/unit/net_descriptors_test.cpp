// A process without descriptors. Not built with UBSan, whose own checks open a pipe.
#include "net_testkit.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <thread>

namespace {

using namespace dtm::net;
using namespace dtm::net::test;

// Not even one more descriptor while it lives.
class NoDescriptorLeft {
public:
    NoDescriptorLeft() {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const int lowest = ::dup(STDERR_FILENO);
        ::close(lowest);
        const rlimit none{static_cast<rlim_t>(lowest), before_.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &none);
    }
    ~NoDescriptorLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptorLeft(const NoDescriptorLeft&) = delete;
    NoDescriptorLeft& operator=(const NoDescriptorLeft&) = delete;

private:
    rlimit before_{};
};

TEST(NetDescriptors, ToHaveNoneIsNoFaultOfTheHost) {
    fault::Server server;
    Settings settings;
    settings.breaker_errors = 1;
    Caller caller(settings);
    {
        const NoDescriptorLeft none;
        for (std::uint64_t id = 0; id < 3; ++id) {
            caller.send(make_call(id, server.url("/ok?" + std::to_string(id))));
        }
        const auto end = Clock::now() + patience;
        while (caller.client.stats().queued == 0 && Clock::now() < end) {
            std::this_thread::yield();  // they are in flight, and then they are not
        }
        EXPECT_EQ(caller.client.stats().replies, 0u);
    }
    for (const Reply& reply : caller.wait_for(3)) EXPECT_EQ(reply.status, 200) << reply.error;
    for (const Endpoint& host : caller.client.endpoints()) EXPECT_EQ(host.errors, 0u);
    EXPECT_EQ(server.seen().size(), 3u);
}

}  // namespace
