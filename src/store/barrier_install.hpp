// Makes dtm_barrier.barrier, or adopts the one that a client of dtm has made before.
#pragma once

#include "pg/spi.hpp"

#include <optional>
#include <string>

namespace dtm::store {

// Within a pg::Spi scope, with the rights of whoever installs.

bool schema_exists(const char* name);
// Why the table is not that of dtm's clients; none: it is.
std::optional<std::string> barrier_shape_fault();
void create_barrier_table();
// The schema is somebody else's: pg_dump shall write it before the extension, so that a restore
// finds it and leaves the table to the dump.
void depend_on_schema();
// Rows written from now on have a time, and those that have none count as old as this moment.
void adopt_barrier_table();
// The table is ours: made by CREATE EXTENSION, or adopted. Others are used, but not cleaned up.
bool barrier_table_is_known();

}  // namespace dtm::store
