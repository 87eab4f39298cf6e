// timestamptz <-> core time. PostgreSQL counts microseconds from 2000-01-01, core from the Unix
// epoch.
#pragma once

#include "pg/postgres.hpp"

#include <chrono>

namespace dtm::pg {

using UnixTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

inline constexpr std::int64_t epoch_shift = std::int64_t{946684800} * 1000000;

inline UnixTime from_timestamptz(TimestampTz t) {
    return UnixTime{std::chrono::microseconds{t + epoch_shift}};
}
inline TimestampTz to_timestamptz(UnixTime t) { return t.time_since_epoch().count() - epoch_shift; }

// The database's clock, not the transaction's.
inline UnixTime now() { return from_timestamptz(GetCurrentTimestamp()); }

}  // namespace dtm::pg
