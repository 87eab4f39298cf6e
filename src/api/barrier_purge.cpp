// dtm_barrier_purge: housekeeping by hand, for servers without a coordinator. The coordinator does
// the same by itself (worker/housekeeping).
#include "api/result.hpp"
#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "store/barrier.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace dtm::api {
namespace {

constexpr int rows_at_a_time = 1000;

// None: nothing is ever old.
std::optional<pg::UnixTime> threshold(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(0)) {
        if (hub::settings.barrier_retention_s == 0) return std::nullopt;
        return pg::now() - std::chrono::seconds{hub::settings.barrier_retention_s};
    }
    const Datum age = PG_GETARG_DATUM(0);
    const Datum now = TimestampTzGetDatum(pg::to_timestamptz(pg::now()));
    const Datum then =
        pg::call([&] { return DirectFunctionCall2(timestamptz_mi_interval, now, age); });
    if (DatumGetTimestampTz(then) > DatumGetTimestampTz(now)) {
        throw pg::SqlError("TD001", "the age is negative", "Field: older_than",
                           "Barrier rows older than it are removed, e.g. '30 days'.");
    }
    return pg::from_timestamptz(DatumGetTimestampTz(then));
}

std::int64_t purge(pg::UnixTime older_than) {
    const store::BarrierTable table;
    std::int64_t removed = 0;
    store::PurgeBatch batch;
    batch.more = true;
    while (batch.more) {
        batch = store::purge_barriers(table, batch.last_id, older_than, rows_at_a_time);
        removed += batch.removed;
        DTM_CRASH_POINT("api.barriers_removed");
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
    return removed;
}

}  // namespace
}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_barrier_purge) {
    api::require_writable("dtm_barrier_purge");
    const auto older_than = api::threshold(fcinfo);
    return Int64GetDatum(older_than ? api::purge(*older_than) : 0);
}
