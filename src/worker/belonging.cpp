// See belonging.hpp.
#include "worker/belonging.hpp"

#include "crash_point.hpp"
#include "hub/shared.hpp"

namespace dtm::worker {

store::Belonging look_where_we_are() {
    bool known = false;
    const std::vector<store::Identity> stored = store::stored_identities(known);
    if (!known) return {};
    store::Identity now = store::current_identity();
    if (stored.empty()) {
        store::write_identity(now);
        DTM_CRASH_POINT("worker.identity_written");
        return {};
    }
    const hub::Start seen = hub::server_start();
    const store::ServerStart start{seen.as_standby, pg::from_timestamptz(seen.backup)};
    store::Belonging found = store::judge_identity(stored, now, start);
    if (found.failover) {
        now.installed = found.installed;
        store::write_identity(now);
        DTM_CRASH_POINT("worker.failover_written");
    }
    if (found.unmarked) {
        store::mark_foreign(found.adopted);
        DTM_CRASH_POINT("worker.backup_marked");
    }
    return found;
}

}  // namespace dtm::worker
