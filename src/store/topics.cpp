// See topics.hpp.
#include "store/topics.hpp"

#include "crash_point.hpp"
#include "pg/spi.hpp"

namespace dtm::store {

namespace {

std::optional<std::string> first_text(const pg::Rows& rows) {
    if (rows.size() == 0) return std::nullopt;
    return std::string(rows.text(0, 1));
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

std::optional<std::string> lock_topic(std::string_view name) {
    static pg::Statement statement(
        "SELECT v FROM dtm.kv WHERE cat OPERATOR(pg_catalog.=) 'topics'"
        " AND k OPERATOR(pg_catalog.=) $1 FOR UPDATE",
        {TEXTOID});
    pg::Args args;
    args.text(name);
    return first_text(statement.execute(args));
}

std::string lock_or_create_topic(std::string_view name) {
    static pg::Statement create(
        "INSERT INTO dtm.kv (cat, k, v, version) VALUES ('topics', $1, '[]', 0)"
        " ON CONFLICT (cat, k) DO NOTHING",
        {TEXTOID});
    for (;;) {
        if (auto text = lock_topic(name)) return *text;
        // Whoever else creates it right now is waited for here; then there is a row to lock, unless
        // it was dropped in between.
        pg::Args args;
        args.text(name);
        create.execute(args);
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
