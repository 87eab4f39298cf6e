// How a round of a transaction ended: what the coordinator tells the API server. Pure.
#pragma once

#include "core/types.hpp"

#include <cstdint>
#include <limits>
#include <string>

namespace dtm::server {

// A round of a transaction is over: it is final, or everything in it waits (dtm-compat.md 5.3).
struct RoundEnd {
    std::string gid;
    core::TransType type = core::TransType::saga;
    core::Status status = core::Status::submitted;
    std::string rollback_reason;
    core::Outcome last{core::Result::success, {}, {}};  // the last that was not a success
    // Whose command left a later version of the row asked for another round. Of the last round
    // everybody hears.
    std::int64_t version = std::numeric_limits<std::int64_t>::max();
};

}  // namespace dtm::server
