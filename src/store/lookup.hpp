// One row of dtm.trans with everything in it, for people who ask. A role finds its own
// transactions, who may execute dtm.observe_all() finds all of them; to others a gid does not
// exist, but where it says otherwise. Locks nothing. Runs within a store::AsOwner.
#pragma once

#include "pg/spi.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dtm::store {

struct Stored {
    std::string gid;
    std::string trans_type;
    std::string status;
    std::string owner;  // the role's name, or its OID when it is gone
    std::string request;
    std::optional<std::string> progress;
    pg::UnixTime create_time{};
    pg::UnixTime update_time{};
    std::optional<pg::UnixTime> finish_time;
    std::optional<pg::UnixTime> rollback_time;
    std::optional<pg::UnixTime> next_cron_time;
    std::optional<std::int32_t> next_cron_interval;
    std::optional<std::string> rollback_reason;
    std::optional<std::string> result;
    std::optional<std::string> attention;
};

// As the active snapshot shows it.
std::optional<Stored> find(std::string_view gid, Oid viewer);
// Whoever asks, as of now; unknown gids are left out.
std::vector<Stored> find_all(std::span<const std::string_view> gids);
// As the active snapshot shows it.
std::optional<std::string> find_status(std::string_view gid, Oid viewer);

}  // namespace dtm::store
