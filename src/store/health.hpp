// The facts of this database and server that dtm_check() judges. Reads only; judges nothing. Runs
// within a store::AsOwner; names are resolved in pg_catalog alone.
#pragma once

#include "pg/spi.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dtm::store {

struct Health {
    std::int64_t late = 0;  // rows due before the time given
    std::optional<pg::UnixTime> oldest_due;
    // The latest that a waiting row was written, of those that wait longest.
    std::optional<pg::UnixTime> last_write;
    std::int64_t unfinished_aside = 0;  // rows put aside with a reason
    bool fsync = true;
    std::string synchronous_commit;          // of this session
    std::vector<std::string> commit_lazily;  // for whom else it is off who may submit: "role app"
    std::string synchronous_standby_names;
    std::int64_t asynchronous_standbys = 0;
    std::string preload_libraries;
    std::string extension_version;
    // Prepared transactions of this database that hold locks on dtm's tables.
    std::int64_t prepared = 0;
    std::optional<pg::UnixTime> oldest_prepared;
    std::string oldest_prepared_name;
    bool barrier_table = false;
    bool barrier_is_ours = false;    // made by us or adopted
    bool barrier_runs_code = false;  // see store::is_plain
    std::optional<pg::UnixTime> oldest_unfinished;
};

Health health(pg::UnixTime late_before);

}  // namespace dtm::store
