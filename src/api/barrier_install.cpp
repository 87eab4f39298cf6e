// dtm.install_barrier(): a statement of the install script, and for a person when there was nothing
// to do at that time. An existing table is used as it is, or refused; it is never dropped.
#include "store/barrier_install.hpp"

#include "pg/session.hpp"
#include "store/barrier.hpp"

extern "C" {
#include "commands/extension.h"
}

namespace dtm::api {
namespace {

// INFO: scripts of extensions hide notices.
void inform(const char* message, const char* detail) {
    pg::call([&] { ereport(INFO, (errmsg("%s", message), errdetail("%s", detail))); });
}

void take_existing() {
    if (store::barrier_table_is_known()) return;
    if (const auto fault = store::barrier_shape_fault()) {
        throw pg::SqlError("55000", "the table dtm_barrier.barrier is not that of dtm's clients",
                           *fault,
                           "Rename it, or give it the columns and the unique key that README.md "
                           "names under Barrier.");
    }
    store::adopt_barrier_table();
    inform("the existing table dtm_barrier.barrier is used from now on",
           "Its rows stay, and so does the table after DROP EXTENSION.");
}

void install() {
    if (store::barrier_table_exists()) return take_existing();
    if (creating_extension && store::schema_exists("dtm_barrier")) {
        // A restore: the schema comes before the extension, an adopted table after it.
        store::depend_on_schema();
        inform("the table dtm_barrier.barrier is left to whoever made the schema",
               "When this is no restore, make it with SELECT dtm.install_barrier().");
        return;
    }
    store::create_barrier_table();
    if (!creating_extension) return store::adopt_barrier_table();
    pg::execute("SELECT pg_catalog.pg_extension_config_dump('dtm_barrier.barrier', '')");
    pg::execute("SELECT pg_catalog.pg_extension_config_dump('dtm_barrier.barrier_seq', '')");
}

}  // namespace
}  // namespace dtm::api

DTM_FUNCTION(dtm_install_barrier) {
    const dtm::pg::Spi spi;
    const dtm::pg::SafeSearchPath path;
    dtm::api::install();
    PG_RETURN_VOID();
}
