// See belonging.hpp.
#include "worker/belonging.hpp"

#include "hub/shared.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace dtm::worker {

store::Belonging look_where_we_are() {
    bool known = false;
    const std::vector<store::Identity> stored = store::stored_identities(known);
    if (!known) return {};
    store::Identity now = store::current_identity();
    if (stored.empty()) {
        store::write_identity(now);
        return {};
    }
    const store::ServerStart start{hub::server_start() == hub::Start::standby,
                                   hub::server_start() == hub::Start::backup,
                                   pg::from_timestamptz(PgStartTime)};
    store::Belonging found = store::judge_identity(stored, now, start);
    if (found.failover) {
        now.installed = found.installed;
        store::write_identity(now);
    }
    if (found.unmarked) store::mark_foreign();
    return found;
}

}  // namespace dtm::worker
