// The hosts that the coordinators call, as they see them, in shared memory for dtm.stat_endpoint.
// A hint like everything in hub/: as of at most a second ago, the first ones only.
#pragma once

#include "pg/postgres.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace dtm::hub {

struct EndpointInfo {
    Oid database = InvalidOid;
    int worker = 0;
    std::string endpoint;
    std::string breaker;  // closed, open or half_open
    std::uint32_t in_flight = 0;
    std::uint32_t waiting = 0;
    std::uint64_t calls = 0;
    std::uint64_t errors = 0;
    std::uint64_t deferred = 0;
    std::uint32_t errors_in_a_row = 0;
    std::int64_t next_probe_ms = 0;
    std::int64_t mean_us = 0;
    std::string last_error;
};

// A coordinator shows its hosts; more than max_endpoints are cut.
inline constexpr std::size_t max_endpoints = 64;
void publish_endpoints(const std::vector<EndpointInfo>&);
std::vector<EndpointInfo> endpoints();

// For hub/shared.
std::size_t endpoints_size();
void attach_endpoints();

}  // namespace dtm::hub
