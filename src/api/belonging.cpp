// See belonging.hpp.
#include "api/belonging.hpp"

#include "hub/shared.hpp"
#include "store/identity.hpp"

extern "C" {
#include "access/xlog.h"
#include "utils/timestamp.h"
}

namespace dtm::api {

std::optional<std::string> why_foreign() {
    if (RecoveryInProgress()) return std::nullopt;
    bool known = false;
    const std::vector<store::Identity> stored = store::stored_identities(known);
    if (stored.empty()) return std::nullopt;
    const store::ServerStart start{hub::server_start() == hub::Start::standby,
                                   hub::server_start() == hub::Start::backup,
                                   pg::from_timestamptz(PgStartTime)};
    return store::judge_identity(stored, store::current_identity(), start).foreign;
}

}  // namespace dtm::api
