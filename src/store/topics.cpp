// See topics.hpp.
#include "store/topics.hpp"

#include "crash_point.hpp"
#include "pg/session.hpp"
#include "pg/spi.hpp"
#include "pg/transaction.hpp"

namespace dtm::store {

namespace {

#define DTM_LOCK_TOPIC                                               \
    "SELECT v FROM dtm.kv WHERE cat OPERATOR(pg_catalog.=) 'topics'" \
    " AND k OPERATOR(pg_catalog.=) $1 FOR UPDATE"

// For an insertion that has not been committed there is no SKIP LOCKED.
constexpr std::chrono::milliseconds short_wait{5};

std::optional<std::string> first_text(const pg::Rows& rows) {
    if (rows.size() == 0) return std::nullopt;
    return std::string(rows.text(0, 1));
}

void create_topic(std::string_view name) {
    static pg::Statement statement(
        "INSERT INTO dtm.kv (cat, k, v, version) VALUES ('topics', $1, '[]', 0)"
        " ON CONFLICT (cat, k) DO NOTHING",
        {TEXTOID});
    pg::Args args;
    args.text(name);
    statement.execute(args);
}

// False: somebody creates it right now.
bool create_unless_locked(std::string_view name) {
    try {
        pg::Subtransaction subtransaction;
        {
            const pg::LockTimeout timeout(short_wait);
            create_topic(name);
        }
        subtransaction.commit();
        return true;
    } catch (const pg::PgError& error) {
        if (error.sqlstate() != ERRCODE_LOCK_NOT_AVAILABLE) throw;
        return false;
    }
}

}  // namespace

std::optional<std::string> topic(std::string_view name) {
    static pg::Statement statement(
        "SELECT v FROM dtm.kv WHERE cat OPERATOR(pg_catalog.=) 'topics'"
        " AND k OPERATOR(pg_catalog.=) $1",
        {TEXTOID});
    pg::Args args;
    args.text(name);
    return first_text(statement.execute(args));
}

LockedTopic lock_topic(std::string_view name, Locks locks) {
    static pg::Statement patient(DTM_LOCK_TOPIC, {TEXTOID});
    static pg::Statement skipping(DTM_LOCK_TOPIC " SKIP LOCKED", {TEXTOID});
    pg::Args args;
    args.text(name);
    LockedTopic found;
    found.text = first_text((locks == Locks::wait ? patient : skipping).execute(args));
    // What is there and cannot be locked is somebody's; what comes in between, too.
    found.busy = locks == Locks::skip && !found.text && topic(name);
    return found;
}

LockedTopic lock_or_create_topic(std::string_view name, Locks locks) {
    for (;;) {
        LockedTopic found = lock_topic(name, locks);
        if (found.busy || found.text) return found;
        // Whoever else creates it right now is waited for here; then there is a row to lock, unless
        // it was dropped in between.
        if (locks == Locks::wait) {
            create_topic(name);
        } else if (!create_unless_locked(name)) {
            found.busy = true;
            return found;
        }
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
}

void write_topic(std::string_view name, std::string_view text) {
    static pg::Statement statement(
        "UPDATE dtm.kv SET v = $2, version = version OPERATOR(pg_catalog.+) 1,"
        " update_time = pg_catalog.clock_timestamp()"
        " WHERE cat OPERATOR(pg_catalog.=) 'topics' AND k OPERATOR(pg_catalog.=) $1",
        {TEXTOID, TEXTOID});
    pg::Args args;
    args.text(name).text(text);
    statement.execute(args);
    DTM_CRASH_POINT("store.topic_written");
}

void delete_topic(std::string_view name) {
    static pg::Statement statement(
        "DELETE FROM dtm.kv WHERE cat OPERATOR(pg_catalog.=) 'topics'"
        " AND k OPERATOR(pg_catalog.=) $1",
        {TEXTOID});
    pg::Args args;
    args.text(name);
    statement.execute(args);
    DTM_CRASH_POINT("store.topic_removed");
}

}  // namespace dtm::store
