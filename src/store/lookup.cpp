// See lookup.hpp.
#include "store/lookup.hpp"

#include "store/visible.hpp"

namespace dtm::store {

namespace {

#define DTM_STORED_COLUMNS                                                       \
    "SELECT gid, trans_type, status, owner::pg_catalog.text, request, progress," \
    " create_time, update_time, finish_time, rollback_time, next_cron_time,"     \
    " next_cron_interval, rollback_reason, result, attention"

Stored read_stored(const pg::Rows& rows, std::size_t i) {
    Stored row;
    row.gid = rows.text(i, 1);
    row.trans_type = rows.text(i, 2);
    row.status = rows.text(i, 3);
    row.owner = rows.text(i, 4);
    row.request = rows.text(i, 5);
    row.progress = rows.opt_text(i, 6);
    row.create_time = rows.time(i, 7);
    row.update_time = rows.time(i, 8);
    row.finish_time = rows.opt_time(i, 9);
    row.rollback_time = rows.opt_time(i, 10);
    row.next_cron_time = rows.opt_time(i, 11);
    if (!rows.is_null(i, 12)) row.next_cron_interval = rows.int4(i, 12);
    row.rollback_reason = rows.opt_text(i, 13);
    row.result = rows.opt_text(i, 14);
    row.attention = rows.opt_text(i, 15);
    return row;
}

}  // namespace

std::optional<Stored> find(std::string_view gid, Oid viewer) {
    static pg::Statement statement(DTM_STORED_COLUMNS DTM_VISIBLE_ROW, {TEXTOID, OIDOID});
    pg::Args args;
    args.text(gid).oid(viewer);
    const pg::Rows rows = statement.execute(args, true);
    if (rows.size() == 0) return std::nullopt;
    return read_stored(rows, 0);
}

std::vector<Stored> find_all(std::span<const std::string_view> gids) {
    static pg::Statement statement(DTM_STORED_COLUMNS
                                   " FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) ANY ($1)",
                                   {TEXTARRAYOID});
    pg::Args args;
    args.texts(gids);
    const pg::Rows rows = statement.execute(args);
    std::vector<Stored> all;
    for (std::size_t i = 0; i < rows.size(); ++i) all.push_back(read_stored(rows, i));
    return all;
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
