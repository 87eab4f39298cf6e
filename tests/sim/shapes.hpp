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
    bool prepared = false;  // a client prepares it and submits (finishes) it later
    // Derived by finish():
    std::array<int, kMaxBranches> money{};  // what the action moves; the sum is zero
    std::array<u8, kMaxBranches> upon{};    // and those that they wait for
    u8 calls = 0, undoes = 0;               // bits: the action, the compensation has a URL
    std::vector<core::Request> with;  // tcc, xa: the request with its first 0, 1, … branches

    int count() const { return static_cast<int>(request.branches.size()); }
    bool saga() const { return request.type == core::TransType::saga; }
    bool message() const { return request.type == core::TransType::msg; }
    bool workflow() const { return request.type == core::TransType::workflow; }
    bool two_phase() const {
        return request.type == core::TransType::tcc || request.type == core::TransType::xa;
    }
    // The request as it reads when so many branches are registered.
    const core::Request& known(std::size_t branches) const {
        return two_phase() ? with[branches] : request;
    }
    // Nothing happens to it, and nobody is asked, until its client says something.
    bool inert_while_prepared() const {
        return saga() || (workflow() && request.query_prepared.empty());
    }
    // What became of a prepared message's client is asked by query-prepared.
    bool asks() const { return prepared && message() && !request.query_prepared.empty(); }
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
