// What a row says when all that waits for a retry does so no longer. What waits for something else
// (a delay, the time of its client) is not hurried.
#pragma once

#include "store/trans.hpp"

namespace dtm::store {

struct Hurried {
    std::optional<std::string> progress;  // none: the stored one says it
    std::optional<core::Time> due;        // not before `now`; none: it waits for nothing by itself
    bool waited = false;  // an operation did, whatever others of the transaction are doing
};
// Throws std::runtime_error when the row's texts cannot be read.
Hurried hurried_up(const Row&, core::Time now, const core::Policy&);

}  // namespace dtm::store
