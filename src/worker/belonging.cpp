// See belonging.hpp.
#include "worker/belonging.hpp"

#include "crash_point.hpp"
#include "hub/shared.hpp"

namespace dtm::worker {
namespace {

// The clock was set back to before the installation, or a standby that took over has another one:
// what sessions write by it is younger than it looks. This far back, they may have begun to before
// anybody looked; a dump that is older is known all the same.
constexpr std::chrono::seconds before_the_look{60};

void admit_by_this_clock(store::Belonging& found, pg::UnixTime now) {
    if (found.foreign || now >= found.installed) return;
    found.installed = now - before_the_look;
    store::admit_older(found.installed);
    DTM_CRASH_POINT("worker.clock_admitted");
}

}  // namespace

store::Belonging look_where_we_are() {
    bool known = false;
    const std::vector<store::Identity> stored = store::stored_identities(known);
    if (!known) return {};
    store::Identity now = store::current_identity();
    if (stored.empty()) {
        store::write_identity(now);
        DTM_CRASH_POINT("worker.identity_written");
        store::Belonging found;
        found.adopted = now.adopted;
        return found;
    }
    const hub::Start seen = hub::server_start();
    const store::ServerStart start{seen.as_standby, pg::from_timestamptz(seen.backup)};
    store::Belonging found = store::judge_identity(stored, now, start);
    admit_by_this_clock(found, now.adopted);
    if (found.failover) {
        now.installed = found.installed;
        store::write_identity(now);
        found.adopted = now.adopted;
        DTM_CRASH_POINT("worker.failover_written");
    }
    if (found.unmarked) {
        store::mark_foreign(found.adopted);
        DTM_CRASH_POINT("worker.backup_marked");
    }
    return found;
}

}  // namespace dtm::worker
