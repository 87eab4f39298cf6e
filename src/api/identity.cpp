// dtm_adopt, and dtm.own_identity for the install script (P15).
#include "store/identity.hpp"
#include "api/belonging.hpp"
#include "api/orders.hpp"
#include "api/result.hpp"
#include "crash_point.hpp"
#include "hub/pending.hpp"
#include "hub/shared.hpp"
#include "store/access.hpp"
#include "store/control.hpp"

#include <algorithm>

using namespace dtm;

DTM_FUNCTION(dtm_own_identity) {
    store::Identity mine = store::current_identity();
    const bool fresh = PG_GETARG_BOOL(0);
    // The long past: nothing is older.
    mine.installed = fresh ? pg::now() : pg::UnixTime{};
    const pg::Spi spi;
    store::write_identity(mine);
    DTM_CRASH_POINT("api.identity_written");
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_adopt) {
    api::require_writable("dtm_adopt");
    const std::string role = api::session_role();
    const store::AsOwner as_owner;
    const auto why = api::why_foreign();
    if (!why) {
        throw pg::SqlError("TD003", "the transactions of this database are its own", {},
                           "dtm_adopt() is for databases that were copied or restored.");
    }
    store::Identity mine = store::current_identity();
    mine.installed = pg::UnixTime{};
    // Whatever the clocks say: it is younger than the backup.
    const pg::UnixTime backup = pg::from_timestamptz(hub::server_start().backup);
    mine.adopted = std::max(mine.adopted, backup);
    store::write_identity(mine);
    store::record_event("", "adopt", role, *why);
    DTM_CRASH_POINT("api.adoption_written");
    hub::pending_control();
    return pg::text_datum(*why);
}
