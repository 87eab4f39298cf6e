// A ceiling: how many POSTs a second the coordinator's own HTTP client makes against the echo
// service when nothing else is done with them. No PostgreSQL. Prints one JSON object.
//
//     posts URL SECONDS IN_FLIGHT
#include "net/client.hpp"

#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

const std::string payload =
    R"({"amount":30,"account":"a-benchmark-account","note":"sixty bytes or so"})";

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: posts URL SECONDS IN_FLIGHT\n");
        return 2;
    }
    const std::string url = argv[1];
    const auto seconds = std::chrono::duration<double>(std::atof(argv[2]));
    const auto in_flight = static_cast<std::uint32_t>(std::atoi(argv[3]));

    dtm::net::Settings settings;
    settings.max_in_flight_per_host = in_flight;
    dtm::net::Client client(settings);
    std::vector<dtm::net::Call> calls;
    std::vector<dtm::net::Reply> replies;
    std::vector<std::int64_t> latencies;
    std::uint64_t started = 0, failed = 0;
    const auto headers = std::make_shared<const std::vector<std::string>>(
        std::vector<std::string>{"Content-Type: application/json"});

    const auto add = [&] {
        dtm::net::Call call;
        call.id = ++started;
        call.post = true;
        call.url =
            url + "?branch_id=01&gid=" + std::to_string(started) + "&op=action&trans_type=saga";
        call.body = payload;
        call.headers = headers;
        calls.push_back(std::move(call));
    };
    const auto begin = Clock::now();
    const auto end = begin + seconds;
    for (std::uint32_t i = 0; i < in_flight; ++i) add();
    client.submit(calls);
    while (Clock::now() < end) {
        pollfd ready{client.ready_fd(), POLLIN, 0};
        poll(&ready, 1, 1000);
        client.drain(replies);
        for (const auto& reply : replies) {
            latencies.push_back(reply.elapsed.count());
            if (reply.status != 200) ++failed;
            add();
        }
        replies.clear();
        client.submit(calls);
    }
    const double took = std::chrono::duration<double>(Clock::now() - begin).count();
    if (latencies.empty()) {
        std::fprintf(stderr, "posts: no answer in %.1f s\n", took);
        return 1;
    }
    std::sort(latencies.begin(), latencies.end());
    const auto at = [&](double q) {
        return static_cast<double>(latencies[static_cast<std::size_t>(
                   static_cast<double>(latencies.size() - 1) * q)]) /
               1000;
    };
    std::printf(
        "{\"posts_per_s\": %.0f, \"failed\": %llu, \"in_flight\": %u, \"p50_ms\": %.3f, "
        "\"p99_ms\": %.3f, "
        "\"cpu_s\": %.2f, \"seconds\": %.2f}\n",
        static_cast<double>(latencies.size()) / took, static_cast<unsigned long long>(failed),
        in_flight, at(0.5), at(0.99), cpu_seconds(), took);
}
