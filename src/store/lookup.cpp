// See lookup.hpp.
#include "store/lookup.hpp"

#include "store/visible.hpp"

namespace dtm::store {

std::optional<Stored> find(std::string_view gid, Oid viewer) {
    static pg::Statement statement(
        "SELECT gid, trans_type, status, owner::pg_catalog.text, request, progress, version,"
        " create_time, update_time, finish_time, rollback_time, next_cron_time,"
        " next_cron_interval, last_error, rollback_reason, result, attention" DTM_VISIBLE_ROW,
        {TEXTOID, OIDOID});
    pg::Args args;
    args.text(gid).oid(viewer);
    const pg::Rows rows = statement.execute(args, true);
    if (rows.size() == 0) return std::nullopt;
    Stored row;
    row.gid = rows.text(0, 1);
    row.trans_type = rows.text(0, 2);
    row.status = rows.text(0, 3);
    row.owner = rows.text(0, 4);
    row.request = rows.text(0, 5);
    row.progress = rows.opt_text(0, 6);
    row.version = rows.int8(0, 7);
    row.create_time = rows.time(0, 8);
    row.update_time = rows.time(0, 9);
    row.finish_time = rows.opt_time(0, 10);
    row.rollback_time = rows.opt_time(0, 11);
    row.next_cron_time = rows.opt_time(0, 12);
    if (!rows.is_null(0, 13)) row.next_cron_interval = rows.int4(0, 13);
    row.last_error = rows.opt_text(0, 14);
    row.rollback_reason = rows.opt_text(0, 15);
    row.result = rows.opt_text(0, 16);
    row.attention = rows.opt_text(0, 17);
    return row;
}

std::optional<std::string> find_status(std::string_view gid, Oid viewer) {
    static pg::Statement statement("SELECT status" DTM_VISIBLE_ROW, {TEXTOID, OIDOID});
    pg::Args args;
    args.text(gid).oid(viewer);
    const pg::Rows rows = statement.execute(args, true);
    if (rows.size() == 0) return std::nullopt;
    return std::string(rows.text(0, 1));
}

}  // namespace dtm::store
