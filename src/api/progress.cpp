// See progress.hpp.
#include "api/progress.hpp"

#include "store/access.hpp"
#include "store/lookup.hpp"
#include "store/registered.hpp"

namespace dtm::api {

std::vector<wire::Registration> registered_of(std::string_view gid, std::string_view trans_type,
                                              Oid viewer) {
    const auto type = core::parse_trans_type(trans_type);
    if (!type || !store::has_registered(*type)) return {};
    const store::AsOwner as_owner;
    if (!store::find_status(gid, viewer)) return {};
    return store::registrations(gid, *type, true);
}

}  // namespace dtm::api
