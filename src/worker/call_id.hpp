// The id of a call says whose it is: an operation is called once at a time, and ids of transactions
// are never used again, so an answer finds its transaction or nobody.
#pragma once

#include "core/types.hpp"

#include <cstdint>

namespace dtm::worker {

struct CallId {
    std::uint64_t active;
    std::uint32_t branch;
    core::Op op;

    static constexpr int branch_bits = 22, op_bits = 2;
    std::uint64_t pack() const {
        return active << (branch_bits + op_bits) | std::uint64_t{branch} << op_bits |
               static_cast<std::uint64_t>(op);
    }
    static CallId unpack(std::uint64_t id) {
        return {id >> (branch_bits + op_bits),
                static_cast<std::uint32_t>(id >> op_bits & ((1u << branch_bits) - 1)),
                static_cast<core::Op>(id & ((1u << op_bits) - 1))};
    }
};

}  // namespace dtm::worker
