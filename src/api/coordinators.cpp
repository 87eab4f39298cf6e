// dtm.coordinators(): the coordinators of the whole server, from shared memory. The view
// dtm.stat_coordinator adds the names of the databases.
#include "api/result.hpp"
#include "hub/shared.hpp"

using namespace dtm;

DTM_FUNCTION(dtm_coordinators) {
    api::ResultRows rows(fcinfo);
    if (!hub::shared_memory_present()) return Datum{0};
    for (const hub::SlotInfo& slot : hub::slots()) {
        pg::Args row;
        row.oid(slot.database).int4(slot.worker).int4(slot.workers);
        if (slot.pid == 0) {
            row.null();
        } else {
            row.int4(slot.pid);
        }
        if (slot.started == 0) {
            row.null();
        } else {
            row.time(pg::from_timestamptz(slot.started));
        }
        row.int4(static_cast<std::int32_t>(slot.active))
            .int4(static_cast<std::int32_t>(slot.in_flight))
            .int4(static_cast<std::int32_t>(slot.ring));
        for (const std::uint64_t n : slot.counters) row.int8(static_cast<std::int64_t>(n));
        rows.add(row);
    }
    return Datum{0};
}
