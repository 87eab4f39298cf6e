// The gids that this session's current transaction has written, until it ends. COMMIT announces
// them to the coordinator; ROLLBACK, also of a savepoint, forgets them (P2). PREPARE TRANSACTION
// forgets them too: whoever commits it runs no callback of ours, so the sweep finds those rows.
#pragma once

#include "hub/shared.hpp"

#include <string_view>

namespace dtm::hub {

// Remembers the gid until the end of the (sub)transaction.
void pending_add(std::string_view gid, Wish wish = Wish::look);
// True when this transaction has written it and not rolled it back.
bool pending_contains(std::string_view gid);
// At commit, the launcher is told to look at this database (CREATE EXTENSION).
void pending_database_check();

// At commit, the coordinators of this database read the standing orders again.
void pending_control();

}  // namespace dtm::hub
