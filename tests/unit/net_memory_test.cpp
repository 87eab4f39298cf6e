// A process that has no memory for what it keeps of its sockets. Not built with ASan, whose
// operator new it would replace.
#include "net_testkit.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

namespace {

// What grows with the number of a descriptor has this size, and hardly anything else.
constexpr int first_descriptor = 600;
constexpr std::size_t smallest = 8 * (first_descriptor + 1), largest = smallest + 800;
std::atomic<bool> none_left{false};
std::atomic<int> refused{0};

}  // namespace

// Not inline: GCC would see free() of what some operator new has returned, and warn.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (none_left.load() && size >= smallest && size <= largest) {
        ++refused;
        throw std::bad_alloc();
    }
    if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace dtm::net;
using namespace dtm::net::test;

TEST(NetMemory, TheLackOfItIsNoFaultOfTheHost) {
    fault::Server server;
    Settings settings;
    settings.breaker_errors = 1;
    Caller caller(settings);
    std::vector<int> low;
    while (low.empty() || low.back() < first_descriptor) {
        low.push_back(::dup(STDERR_FILENO));
        ASSERT_GE(low.back(), 0);
    }
    none_left = true;
    caller.send(make_call(1, server.url("/ok")));
    const auto end = Clock::now() + patience;
    while (refused < 2 && Clock::now() < end) std::this_thread::yield();
    EXPECT_GE(refused, 2) << "it tries again";
    none_left = false;
    for (const Reply& reply : caller.wait_for(1)) EXPECT_EQ(reply.status, 200) << reply.error;
    for (const Endpoint& host : caller.client.endpoints()) EXPECT_EQ(host.errors, 0u);
    EXPECT_EQ(server.seen().size(), 1u);
    for (const int fd : low) ::close(fd);
}

}  // namespace
