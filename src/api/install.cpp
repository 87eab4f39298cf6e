// dtm.installed(): the last statement of the install script. When CREATE EXTENSION commits, the
// launcher looks at this database and starts its coordinator.
#include "hub/pending.hpp"
#include "pg/call.hpp"

DTM_FUNCTION(dtm_installed) {
    dtm::hub::pending_database_check();
    PG_RETURN_VOID();
}

// dtm.observe_all(): who may execute it sees the transactions of all roles. Nobody needs to call
// it.
DTM_FUNCTION(dtm_observe_all) { PG_RETURN_VOID(); }
