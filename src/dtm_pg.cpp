// Where PostgreSQL enters: the only file that knows all rooms, because it puts them together.
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "pg/call.hpp"
#include "worker/process.hpp"

extern "C" {
#pragma GCC visibility push(default)  // before PostgreSQL 16 the macro does not say so itself
PG_MODULE_MAGIC;
#pragma GCC visibility pop
DTM_EXPORT void _PG_init(void);  // NOLINT(bugprone-reserved-identifier): PostgreSQL's name
}

extern "C" void _PG_init(void) {  // NOLINT(bugprone-reserved-identifier): PostgreSQL's name
    dtm::pg::entry([]() -> Datum {
        dtm::hub::define_settings();
        // pg_upgrade starts servers whose tables must not be touched.
        if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade) {
            dtm::hub::request_shared_memory();
            dtm::worker::register_launcher();
        }
        return Datum{0};
    });
}
