// See verbs.hpp.
#include "store/verbs.hpp"

#include "store/visible.hpp"

namespace dtm::store {

std::optional<Locked> lock_for_verb(std::string_view gid, Oid viewer) {
    static pg::Statement statement("SELECT trans_type, status" DTM_VISIBLE_ROW " FOR NO KEY UPDATE",
                                   {TEXTOID, OIDOID});
    pg::Args args;
    args.text(gid).oid(viewer);
    const pg::Rows rows = statement.execute(args);
    if (rows.size() == 0) return std::nullopt;
    Locked row;
    row.type_word = rows.text(0, 1);
    row.status_word = rows.text(0, 2);
    static_cast<Row&>(row) = load_one(gid).value();
    return row;
}

void make_due(std::string_view gid, const std::optional<std::string>& progress,
              std::optional<pg::UnixTime> due, pg::UnixTime now) {
    static pg::Statement statement(
        "UPDATE dtm.trans SET progress = COALESCE($2, progress), next_cron_time = $3,"
        " update_time = $4, attention = NULL, version = version OPERATOR(pg_catalog.+) 1"
        " WHERE gid OPERATOR(pg_catalog.=) $1",
        {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID});
    pg::Args args;
    args.text(gid).text(progress).time(due).time(now);
    statement.execute(args);
}

void write_progress(std::string_view gid, const std::string& progress,
                    std::optional<pg::UnixTime> due, pg::UnixTime now) {
    static pg::Statement statement(
        "UPDATE dtm.trans SET progress = $2, update_time = $4,"
        " next_cron_time = CASE WHEN attention IS NULL THEN $3 END,"
        " version = version OPERATOR(pg_catalog.+) 1 WHERE gid OPERATOR(pg_catalog.=) $1",
        {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID});
    pg::Args args;
    args.text(gid).text(progress).time(due).time(now);
    statement.execute(args);
}

void set_aside(std::string_view gid, const std::string& attention, pg::UnixTime now) {
    static pg::Statement statement(
        "UPDATE dtm.trans SET next_cron_time = NULL, attention = $2, update_time = $3,"
        " version = version OPERATOR(pg_catalog.+) 1 WHERE gid OPERATOR(pg_catalog.=) $1",
        {TEXTOID, TEXTOID, TIMESTAMPTZOID});
    pg::Args args;
    args.text(gid).text(attention).time(now);
    statement.execute(args);
}

void stop(std::string_view gid, std::string_view status, const std::string& reason,
          pg::UnixTime now) {
    static pg::Statement statement(
        "UPDATE dtm.trans SET status = $2, rollback_reason = COALESCE(rollback_reason, $3),"
        " next_cron_time = NULL, rollback_time = $4, update_time = $4, attention = NULL,"
        " version = version OPERATOR(pg_catalog.+) 1 WHERE gid OPERATOR(pg_catalog.=) $1",
        {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID});
    pg::Args args;
    args.text(gid).text(status).text(reason).time(now);
    statement.execute(args);
}

}  // namespace dtm::store
