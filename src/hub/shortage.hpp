// Which coordinators the launcher cannot start for want of a place, in shared memory for
// dtm_check(). As of the launcher's last look; a launcher that starts has no shortage.
#pragma once

#include "pg/postgres.hpp"

#include <cstdint>
#include <vector>

namespace dtm::hub {

enum class Lacking : std::uint8_t {
    nothing,
    process,  // max_worker_processes
    slot,     // dtm.max_coordinators
};

struct Shortage {
    Oid database = InvalidOid;
    Lacking lacking = Lacking::nothing;
    bool wanted = false;  // the extension is there for all we know; else nobody has looked yet
};

// Of the launcher; more than max_shortages are cut.
inline constexpr std::size_t max_shortages = 64;
void publish_shortages(const std::vector<Shortage>&);
std::vector<Shortage> shortages();

// For hub/shared.
std::size_t shortages_size();
void attach_shortages();

}  // namespace dtm::hub
