// dtm.endpoints(): the hosts that the coordinators of the whole server call, from shared memory.
// The view dtm.stat_endpoint adds the names of the databases.
#include "hub/endpoints.hpp"
#include "api/result.hpp"

extern "C" {
#include "utils/timestamp.h"
}

using namespace dtm;

namespace {

Datum interval_of(std::int64_t microseconds) {
    return pg::call([microseconds] {
        auto* interval = static_cast<Interval*>(palloc0(sizeof(Interval)));
        interval->time = microseconds;
        return PointerGetDatum(interval);
    });
}

}  // namespace

DTM_FUNCTION(dtm_endpoints) {
    api::ResultRows rows(fcinfo);
    for (const hub::EndpointInfo& e : hub::endpoints()) {
        pg::Args row;
        row.oid(e.database).int4(e.worker);
        row.text(e.endpoint).text(e.breaker);
        row.int4(static_cast<std::int32_t>(e.in_flight)).int4(static_cast<std::int32_t>(e.waiting));
        row.int8(static_cast<std::int64_t>(e.calls)).int8(static_cast<std::int64_t>(e.errors));
        row.int8(static_cast<std::int64_t>(e.deferred));
        row.int4(static_cast<std::int32_t>(e.errors_in_a_row));
        if (e.breaker == "closed") {
            row.null();
        } else {
            row.datum(interval_of(e.next_probe_ms * 1000));
        }
        if (e.mean_us == 0) {
            row.null();
        } else {
            row.datum(interval_of(e.mean_us));
        }
        row.text_or_null(e.last_error);
        rows.add(row);
    }
    return Datum{0};
}
