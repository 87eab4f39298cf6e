// See command_writes.hpp.
#include "store/command_writes.hpp"

#include "crash_point.hpp"
#include "pg/transaction.hpp"
#include "store/visible.hpp"

#include <unordered_map>

namespace dtm::store {

namespace {

using pg::Args;
using pg::Statement;
using Texts = std::vector<std::optional<std::string_view>>;

template <class Row>
std::unordered_map<std::string_view, std::size_t> index_of(std::span<const Row> rows) {
    std::unordered_map<std::string_view, std::size_t> index;
    for (std::size_t i = 0; i < rows.size(); ++i) index.emplace(rows[i].gid, i);
    return index;
}

std::vector<Creating> insert(std::span<const Creation> all, Oid owner, core::Time now) {
    static Statement statement(
        "INSERT INTO dtm.trans (gid, trans_type, status, owner, request, progress,"
        " next_cron_time, next_cron_interval, create_time, update_time)"
        " SELECT u.gid, u.trans_type, u.status, $8::pg_catalog.regrole, u.request, u.progress,"
        " u.due, u.interval_s, $9, $9"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7)"
        " AS u(gid, trans_type, status, request, progress, due, interval_s)"
        " ON CONFLICT (gid) DO NOTHING RETURNING gid",
        {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
         INT4ARRAYOID, OIDOID, TIMESTAMPTZOID});
    Texts gids, types, statuses, requests, progress;
    std::vector<std::optional<core::Time>> dues;
    std::vector<std::int32_t> intervals;
    for (const Creation& c : all) {
        gids.emplace_back(c.gid);
        types.emplace_back(to_string(c.type));
        statuses.emplace_back(to_string(c.status));
        requests.emplace_back(c.request);
        progress.push_back(c.progress);
        dues.push_back(c.due);
        intervals.push_back(c.interval_s);
    }
    Args args;
    for (const Texts* column : {&gids, &types, &statuses, &requests, &progress}) {
        args.datum(pg::text_array(*column));
    }
    args.datum(pg::time_array(dues)).datum(pg::int4_array(intervals)).oid(owner).time(now);
    const pg::Rows rows = statement.execute(args);
    const auto index = index_of(all);
    std::vector<Creating> done(all.size(), Creating::exists);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        done[index.at(rows.text(i, 1))] = Creating::created;
    }
    return done;
}

// None: somebody is inserting one of them right now, and nothing is inserted.
std::optional<std::vector<Creating>> insert_unless_locked(std::span<const Creation> all, Oid owner,
                                                          core::Time now) {
    try {
        pg::Subtransaction subtransaction;
        std::vector<Creating> done = insert(all, owner, now);
        subtransaction.commit();
        return done;
    } catch (const pg::PgError& error) {
        if (error.sqlstate() != ERRCODE_LOCK_NOT_AVAILABLE) throw;
        return std::nullopt;
    }
}

}  // namespace

std::vector<Creating> create(std::span<const Creation> all, Oid owner, core::Time now,
                             bool careful) {
    if (all.empty()) return {};
    if (!careful) return insert(all, owner, now);
    if (auto done = insert_unless_locked(all, owner, now)) return std::move(*done);
    std::vector<Creating> done(all.size(), Creating::busy);
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (const auto one = insert_unless_locked(all.subspan(i, 1), owner, now))
            done[i] = (*one)[0];
    }
    return done;
}

namespace {

// The request is written only where it changes: a long one stays where it is, out of the row.
constexpr const char* change_sql =
    "UPDATE dtm.trans AS t SET status = u.to_status,"
    " version = t.version OPERATOR(pg_catalog.+) 1, update_time = $11,"
    " finish_time = CASE WHEN u.to_status OPERATOR(pg_catalog.=) 'succeed' THEN $11 END,"
    " rollback_time = CASE WHEN u.to_status OPERATOR(pg_catalog.=) 'failed' THEN $11 END,"
    " next_cron_time = CASE WHEN t.attention IS NULL THEN u.due END,"
    " attention = CASE WHEN u.due IS NOT NULL THEN t.attention END,"
    " request = COALESCE(u.request, t.request),"
    " rollback_reason = COALESCE(u.reason, t.rollback_reason),"
    " result = COALESCE(u.result, t.result)"
    " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    " AS u(gid, trans_type, from_status, to_status, expected, request, reason, result, due)"
    " WHERE t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])"
    " AND t.status OPERATOR(pg_catalog.=) u.from_status"
    " AND t.trans_type OPERATOR(pg_catalog.=) u.trans_type"
    " AND (u.expected IS NULL OR t.request OPERATOR(pg_catalog.=) u.expected)"
    " AND " DTM_OWNED_ROW("$10")
    " RETURNING t.gid, t.version, t.create_time, t.progress IS NULL, t.attention IS NOT NULL,"
    " t.rollback_reason, CASE WHEN t.status OPERATOR(pg_catalog.=) 'aborting' THEN t.request END";

pg::Rows update(std::span<const Change> all, Oid role, core::Time now) {
    static Statement statement(change_sql, {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
                                            TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
                                            TIMESTAMPTZARRAYOID, OIDOID, TIMESTAMPTZOID});
    Texts gids, types, froms, tos, expected, requests, reasons, results;
    std::vector<std::optional<core::Time>> dues;
    for (const Change& c : all) {
        gids.emplace_back(c.gid);
        types.emplace_back(to_string(c.type));
        froms.emplace_back(to_string(c.from));
        tos.emplace_back(to_string(c.to));
        expected.push_back(c.expected);
        requests.push_back(c.request);
        reasons.push_back(c.reason);
        results.push_back(c.result);
        dues.push_back(c.due);
    }
    Args args;
    for (const Texts* column :
         {&gids, &types, &froms, &tos, &expected, &requests, &reasons, &results}) {
        args.datum(pg::text_array(*column));
    }
    args.datum(pg::time_array(dues)).oid(role).time(now);
    return statement.execute(args);
}

}  // namespace

std::vector<Changed> change(std::span<const Change> all, Oid role, core::Time now) {
    std::vector<Changed> done(all.size());
    if (all.empty()) return done;
    const pg::Rows rows = update(all, role, now);
    DTM_CRASH_POINT("store.status_changed");
    const auto index = index_of(all);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        Changed& c = done[index.at(rows.text(i, 1))];
        c.done = true;
        c.version = rows.int8(i, 2);
        c.create_time = rows.time(i, 3);
        c.silent = rows.boolean(i, 4);
        c.aside = rows.boolean(i, 5);
        c.rollback_reason = rows.text(i, 6);
        c.request = rows.text(i, 7);
    }
    return done;
}

}  // namespace dtm::store
