// What the data directory tells about how this server came to be, when it is started (P15). Read
// once, by the postmaster: recovery takes the files away.
#pragma once

#include "pg/postgres.hpp"

namespace dtm::hub {

struct Start {
    bool as_standby = false;
    // When its files came from a backup; 0: never, as far as they tell.
    TimestampTz backup = 0;
};

Start how_the_server_starts();

}  // namespace dtm::hub
