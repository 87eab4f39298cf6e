// See belonging.hpp.
#include "api/belonging.hpp"

#include "hub/shared.hpp"
#include "store/identity.hpp"

extern "C" {
#include "access/xlog.h"
}

namespace dtm::api {

std::optional<std::string> why_foreign() {
    if (RecoveryInProgress()) return std::nullopt;
    bool known = false;
    const std::vector<store::Identity> stored = store::stored_identities(known);
    if (stored.empty()) return std::nullopt;
    const hub::Start seen = hub::server_start();
    const store::ServerStart start{seen.as_standby, pg::from_timestamptz(seen.backup)};
    const store::Belonging found = store::judge_identity(stored, store::current_identity(), start);
    return found.foreign ? found.foreign : store::foreign_rows(found);
}

}  // namespace dtm::api
