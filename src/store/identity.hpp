// Whose transactions these are (P15). A database that was copied or restored knows it by comparing
// what it was when its coordinator last ran with what it is now. Functions run within a pg::Spi
// scope.
#pragma once

#include "pg/spi.hpp"

#include <optional>
#include <string>
#include <vector>

namespace dtm::store {

struct Identity {
    std::int64_t system_identifier = 0;
    Oid database = InvalidOid;
    std::int64_t timeline = 0;
    pg::UnixTime installed{};  // transactions that are older came from elsewhere
    pg::UnixTime adopted{};
};
// What this server and database are now. Not on a standby.
Identity current_identity();
// What they say they are; more than one after a restore. None: the SQL is that of an old version,
// or nobody has written one yet (`known` tells which).
std::vector<Identity> stored_identities(bool& known);

// What the server found when it was started.
struct ServerStart {
    bool as_standby = false;
    // When its files were taken from a backup; an identity that is older came with them.
    pg::UnixTime backup{};
};
struct Belonging {
    std::optional<std::string> foreign;  // why the transactions are not ours; none: they are
    bool failover = false;               // a new timeline that is to be written down
    bool unmarked = false;               // foreign, and the next start would not know it any more
    pg::UnixTime installed{};
    pg::UnixTime adopted{};  // when somebody last said that they are ours
};
// `stored` is not empty.
Belonging judge_identity(const std::vector<Identity>& stored, const Identity& now,
                         const ServerStart& start);
// Why unfinished transactions of `found`, which is not foreign so far, make it so: they are older
// than the installation. A dump of a version that knew no identity brings such.
std::optional<std::string> foreign_rows(const Belonging& found);
// Makes the database silent until it is adopted; unless it was adopted since `seen`.
void mark_foreign(pg::UnixTime seen);
// Transactions that are as old as this are ours, too: dtm_import() has brought some, or the clock
// was set back.
void admit_older(pg::UnixTime oldest);

// Replaces whatever is stored. Others that would write wait for the end of the transaction.
void write_identity(const Identity&);

}  // namespace dtm::store
