// See progress.hpp.
#include "api/progress.hpp"

#include "api/result.hpp"
#include "store/access.hpp"
#include "store/lookup.hpp"
#include "store/registered.hpp"

namespace dtm::api {

std::vector<wire::Registration> registered_of(std::string_view gid, std::string_view trans_type,
                                              Oid viewer) {
    const auto type = core::parse_trans_type(trans_type);
    if (!type || !core::has_registered(*type)) return {};
    const store::AsOwner as_owner;
    if (!store::find_status(gid, viewer)) return {};
    return store::registrations(gid, *type, true);
}

std::optional<RowArg> row_arg(FunctionCallInfo fcinfo) {
    for (const int n : {0, 1, 2, 3, 5}) {
        if (PG_ARGISNULL(n)) return std::nullopt;
    }
    RowArg row;
    row.texts.gid = view_arg(fcinfo, 0);
    row.texts.trans_type = view_arg(fcinfo, 1);
    row.texts.status = view_arg(fcinfo, 2);
    row.texts.create_time = pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(3));
    if (!PG_ARGISNULL(4)) row.time = pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(4));
    row.texts.request = view_arg(fcinfo, 5);
    if (!PG_ARGISNULL(6)) row.texts.progress = view_arg(fcinfo, 6);
    row.texts.registered = registered_of(row.texts.gid, row.texts.trans_type, GetUserId());
    return row;
}

}  // namespace dtm::api
