// The requests that the simulation submits. They are made once and shared by all schedules: a
// schedule makes no request of its own, so its time goes into deciding.
#pragma once

#include "core/types.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace sim {

namespace core = dtm::core;
using u8 = std::uint8_t;

constexpr int kMaxTrans = 3;
constexpr int kMaxBranches = 6;

struct Shape {
    core::Request request;
    bool prepared = false;  // a client prepares it and submits later
    // Derived by finish():
    std::array<int, kMaxBranches> money{};  // what the action moves; the sum is zero
    std::array<u8, kMaxBranches> upon{};    // and those that they wait for
    u8 calls = 0, undoes = 0;               // bits: the action, the compensation has a URL

    int count() const { return static_cast<int>(request.branches.size()); }
    bool saga() const { return request.type == core::TransType::saga; }
    // What became of a prepared message's client is asked by query-prepared.
    bool asks() const { return prepared && !saga() && !request.query_prepared.empty(); }
    void finish();
    std::string tell() const;
};

// Always the same: a seed names a schedule only together with them.
const std::vector<Shape>& shapes();

// The same with one complication less: number `i` of them. False when there are no more; a
// complication that the shape does not have leaves it as it is.
bool simplify(Shape&, int i);
void remove_branch(Shape&, int branch);

}  // namespace sim
