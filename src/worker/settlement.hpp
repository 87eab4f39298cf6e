// What the row of a transaction shall say that the coordinator holds in memory.
#pragma once

#include "store/trans.hpp"
#include "worker/actives.hpp"

namespace dtm::worker {

// Views into `a`, which must not change until it is written.
store::Settlement settlement_of(const Active& a);

}  // namespace dtm::worker
