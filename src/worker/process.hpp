// The processes of dtm_pg: what the postmaster starts, and how they end. Survives every row of the
// lifecycle table (style.md 9.4): exit code 0 means only that the extension is gone.
#pragma once

#include <cstdint>
#include <string>

namespace dtm::worker {

// From _PG_init under shared_preload_libraries: registers the launcher.
void register_launcher();

// Starts the coordinator of a reserved slot. False: no background worker slot is free.
bool start_coordinator(int slot, std::uint32_t generation, std::uint32_t database);

// DROP DATABASE, CREATE DATABASE … TEMPLATE and ALTER DATABASE hold or want a lock on the database
// that conflicts with the one every session takes at its start; they fail while we are connected.
// Within a transaction.
bool database_is_wanted(std::uint32_t database);

// That of this process, in quotes, for log lines. Within a transaction.
std::string database_name();

// pg_extension knows dtm_pg in this database, and its table is there. Within a transaction.
bool extension_present();

}  // namespace dtm::worker
