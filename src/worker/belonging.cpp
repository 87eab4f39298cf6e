// See belonging.hpp.
#include "worker/belonging.hpp"

#include "hub/shared.hpp"
#include "store/identity.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace dtm::worker {
namespace {

constexpr const char* copied = "its transactions belong to another server or database: it was "
                               "restored from a dump, or copied";
constexpr const char* recovered = "the server was recovered from a backup";

}  // namespace

Belonging look_where_we_are() {
    Belonging found;
    bool known = false;
    const std::vector<store::Identity> stored = store::stored_identities(known);
    if (!known) return found;
    store::Identity now = store::current_identity();
    if (stored.empty()) {
        store::write_identity(now);
        return found;
    }
    const store::Identity* mine = nullptr;
    for (const store::Identity& i : stored) {
        const bool same =
            i.system_identifier == now.system_identifier && i.database == now.database;
        if (!same) found.foreign = i.system_identifier == 0 ? recovered : copied;
        if (same) mine = &i;
    }
    if (found.foreign || mine == nullptr) return found;
    found.installed = mine->installed;

    const bool before_start = mine->adopted < pg::from_timestamptz(PgStartTime);
    if (mine->timeline != now.timeline) {
        if (hub::server_start() != hub::Start::standby) {
            found.foreign = recovered;
            return found;
        }
        now.installed = mine->installed;
        store::write_identity(now);  // a failover
    } else if (hub::server_start() == hub::Start::backup && before_start) {
        // The next start would not know it any more.
        found.foreign = recovered;
        store::add_identity(store::Identity{});
    }
    return found;
}

}  // namespace dtm::worker
