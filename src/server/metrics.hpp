// What Prometheus reads at /api/metrics: dtm's names and labels (dtm-compat.md 7.1) without the
// faults of D20, and ours. Labels are bounded, whatever clients send. Lives in the main thread.
#pragma once

#include "core/types.hpp"
#include "server/routes.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace dtm::server {

class Metrics {
public:
    Metrics();
    ~Metrics();
    Metrics(const Metrics&) = delete;
    Metrics& operator=(const Metrics&) = delete;

    void request(Route, bool ok, std::chrono::steady_clock::duration elapsed);
    // A round is over: the transaction ended, or everything in it waits.
    void round(core::TransType, bool ok, core::Micros age);
    void branch(core::TransType, std::string_view branch_id, std::string_view op, bool ok);

    // Takes over what the coordinators of this server have counted. Now and then: what one counts
    // between the last look and its end is lost.
    void look_at_coordinators();
    // The text exposition format. `connections`: of the listener; `waiting`: for rounds.
    std::string text(std::uint32_t connections, std::size_t waiting);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dtm::server
