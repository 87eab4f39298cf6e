// See identity.hpp.
#include "store/identity.hpp"

#include "store/access.hpp"

extern "C" {
#include "access/xlog.h"
}

namespace dtm::store {
namespace {

constexpr const char* copied =
    "its transactions belong to another server or database: it was restored or copied";
constexpr const char* recovered =
    "it was recovered from a backup, or its transactions are older than its installation";

}  // namespace

Identity current_identity() {
    Identity mine;
    mine.system_identifier = static_cast<std::int64_t>(GetSystemIdentifier());
    mine.database = MyDatabaseId;
#if PG_VERSION_NUM >= 150000
    mine.timeline = static_cast<std::int64_t>(GetWALInsertionTimeLine());
#else
    mine.timeline = static_cast<std::int64_t>(ThisTimeLineID);
#endif
    mine.adopted = pg::now();
    return mine;
}

std::vector<Identity> stored_identities(bool& known) {
    known = table_exists("identity");
    std::vector<Identity> all;
    if (!known) return all;
    static pg::Statement statement(
        "SELECT system_identifier, database, timeline, installed, adopted FROM dtm.identity", {});
    pg::Args none;
    const pg::Rows rows = statement.execute(none);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        all.push_back(
            {rows.int8(i, 1), rows.oid(i, 2), rows.int8(i, 3), rows.time(i, 4), rows.time(i, 5)});
    }
    return all;
}

Belonging judge_identity(const std::vector<Identity>& stored, const Identity& now,
                         const ServerStart& start) {
    Belonging found;
    const Identity* mine = nullptr;
    for (const Identity& i : stored) {
        if (i.system_identifier == now.system_identifier && i.database == now.database) {
            mine = &i;
        } else {
            found.foreign = i.system_identifier == 0 ? recovered : copied;
        }
    }
    // A dump that is restored where it came from adds a row like ours.
    if (!found.foreign && stored.size() > 1) found.foreign = copied;
    if (found.foreign || mine == nullptr) return found;
    found.installed = mine->installed;
    found.adopted = mine->adopted;
    if (mine->timeline != now.timeline) {
        found.failover = start.as_standby;
        if (!start.as_standby) found.foreign = recovered;
    } else if (!start.as_standby && mine->adopted < start.backup) {
        found.foreign = recovered;
        found.unmarked = true;
    }
    return found;
}

namespace {

void add_identity(const Identity& identity) {
    static pg::Statement statement(
        "INSERT INTO dtm.identity (system_identifier, database, timeline, installed, adopted)"
        " VALUES ($1, $2, $3, $4, $5)",
        {INT8OID, OIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID});
    pg::Args args;
    args.int8(identity.system_identifier).oid(identity.database).int8(identity.timeline);
    args.time(identity.installed).time(identity.adopted);
    statement.execute(args);
}

// Two writers at once would leave two rows, or undo each other.
void lock_identity() {
    static pg::Statement statement("LOCK TABLE dtm.identity IN SHARE ROW EXCLUSIVE MODE", {});
    pg::Args none;
    statement.execute(none);
}

}  // namespace

std::optional<std::string> foreign_rows(const Belonging& found) {
    // By a clock that was set back all of it is older: the coordinator will admit it.
    if (pg::now() < found.installed) return std::nullopt;
    // In the order of its index: there is none, as a rule, and that is found at the first look.
    static pg::Statement statement(
        "SELECT FROM dtm.trans WHERE create_time OPERATOR(pg_catalog.<) $1"
        " AND next_cron_time IS NOT NULL ORDER BY create_time LIMIT 1",
        {TIMESTAMPTZOID});
    pg::Args args;
    args.time(found.installed);
    if (statement.execute(args).size() == 0) return std::nullopt;
    return recovered;
}

void mark_foreign(pg::UnixTime seen) {
    lock_identity();
    bool known = false;
    for (const Identity& i : stored_identities(known)) {
        if (i.adopted > seen) return;
    }
    add_identity(Identity{});
}

void admit_older(pg::UnixTime oldest) {
    static pg::Statement statement(
        "UPDATE dtm.identity SET installed = $1 WHERE installed OPERATOR(pg_catalog.>) $1",
        {TIMESTAMPTZOID});
    pg::Args args;
    args.time(oldest);
    statement.execute(args);
}

void write_identity(const Identity& identity) {
    static pg::Statement statement("DELETE FROM dtm.identity", {});
    pg::Args none;
    lock_identity();
    statement.execute(none);
    add_identity(identity);
}

}  // namespace dtm::store
