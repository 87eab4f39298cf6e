// The wait events that our processes show in pg_stat_activity. PostgreSQL 17 and later know them by
// name; before, all of them read "Extension".
#pragma once

#include "pg/postgres.hpp"

#include <cstdint>

namespace dtm::pg {

enum class WaitEvent : int { launcher, coordinator, finished, count };

std::uint32_t wait_event(WaitEvent);

}  // namespace dtm::pg
