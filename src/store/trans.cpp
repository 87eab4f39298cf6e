// See trans.hpp. Two rules keep this file honest: every value travels as a parameter, and every
// update says which version of the row it read, if anybody has read it.
#include "store/trans.hpp"

#include "core/decide.hpp"
#include "store/access.hpp"
#include "store/registered.hpp"
#include "wire/stored.hpp"

#include <algorithm>
#include <unordered_map>

namespace dtm::store {
namespace {

using pg::Args;
using pg::Statement;

constexpr const char* columns =
    "gid, trans_type, status, owner::pg_catalog.oid, request, progress, version, rollback_reason,"
    " create_time, next_cron_time, xmin, attention";

Row read_row(const pg::Rows& rows, std::size_t i) {
    Row row;
    row.gid = rows.text(i, 1);
    const auto type = core::parse_trans_type(rows.text(i, 2));
    const auto status = core::parse_status(rows.text(i, 3));
    row.owner = rows.oid(i, 4);
    row.request = rows.text(i, 5);
    row.progress = rows.opt_text(i, 6);
    row.version = rows.int8(i, 7);
    row.rollback_reason = rows.opt_text(i, 8).value_or("");
    row.create_time = rows.time(i, 9);
    row.next_cron_time = rows.opt_time(i, 10);
    row.xmin = DatumGetTransactionId(rows.value(i, 11));
    row.attention = rows.opt_text(i, 12);
    if (type && status) {
        row.type = *type;
        row.status = *status;
    } else {
        row.unreadable = "this version of dtm_pg does not know its type or its status";
    }
    return row;
}

void attach(Row& row, RegisteredByGid& branches) {
    const auto found = branches.find(row.gid);
    if (found == branches.end()) return;
    row.registered = std::move(found->second);
    for (wire::Registration& branch : row.registered) branch.type = row.type;
    branches.erase(found);
}

void attach_registered(std::vector<Row>& rows) {
    std::vector<std::string_view> gids;
    for (const Row& row : rows) {
        if (!row.unreadable && core::is_two_phase(row.type)) gids.emplace_back(row.gid);
    }
    if (gids.empty()) return;
    RegisteredByGid branches = registered(gids);
    for (Row& row : rows) attach(row, branches);
}

// The registered branches of rows that are read one after the other, fetched for as many rows at a
// time as are small together.
class RegisteredInPieces {
public:
    explicit RegisteredInPieces(const pg::Rows& rows) {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const auto type = core::parse_trans_type(rows.text(i, 2));
            if (type && core::is_two_phase(*type)) gids_.push_back(rows.text(i, 1));
        }
        if (!gids_.empty()) bytes_ = registered_bytes(gids_);
    }

    // In the order of the rows.
    void attach(Row& row) {
        const auto at = std::ranges::find(gids_.begin() + next_, gids_.end(), row.gid);
        if (at != gids_.end()) {
            next_ = at - gids_.begin();
            fetch();
        }
        store::attach(row, branches_);
    }

private:
    void fetch() {
        constexpr std::size_t enough = std::size_t{1} << 20;
        const auto first = gids_.begin() + next_;
        auto end = first;
        for (std::size_t bytes = 0; end != gids_.end() && bytes < enough; ++end) {
            const auto found = bytes_.find(std::string(*end));
            if (found != bytes_.end()) bytes += found->second;
        }
        branches_ = registered(std::span(first, end));
        next_ = end - gids_.begin();
    }

    std::vector<std::string_view> gids_;
    std::unordered_map<std::string, std::size_t> bytes_;
    std::ptrdiff_t next_ = 0;  // for which nothing was fetched yet
    RegisteredByGid branches_;
};

std::vector<Row> read_rows(const pg::Rows& rows) {
    std::vector<Row> all;
    all.reserve(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) all.push_back(read_row(rows, i));
    attach_registered(all);
    return all;
}

std::optional<Row> first(std::vector<Row> rows) {
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
}

std::string select_sql(const char* condition) {
    return std::string("SELECT ") + columns + " FROM dtm.trans WHERE " + condition;
}

}  // namespace

bool insert(const NewTrans& t) {
    static Statement statement(
        "INSERT INTO dtm.trans (gid, trans_type, status, owner, request, next_cron_time,"
        " next_cron_interval) VALUES ($1, $2, $3, $4::pg_catalog.regrole, $5, $6, $7)"
        " ON CONFLICT (gid) DO NOTHING",
        {TEXTOID, TEXTOID, TEXTOID, OIDOID, TEXTOID, TIMESTAMPTZOID, INT4OID});
    Args args;
    args.text(t.gid)
        .text(to_string(t.type))
        .text(to_string(t.status))
        .oid(t.owner)
        .text(t.request)
        .time(t.due)
        .int4(t.interval_s);
    return statement.execute(args).processed() == 1;
}

void load(std::span<const std::string> gids,
          const std::function<bool(std::string_view gid)>& wanted,
          const std::function<void(const Row&)>& take) {
    static const std::string sql = select_sql("gid OPERATOR(pg_catalog.=) ANY ($1)");
    static Statement statement(sql.c_str(), {TEXTARRAYOID});
    // Tuples are small: what is large in them is elsewhere until somebody reads it.
    constexpr std::size_t piece = 64;
    for (std::span<const std::string> left = gids; !left.empty();) {
        const std::size_t count = std::min(left.size(), piece);
        const pg::Spi memory;  // of this piece alone
        const auto part = left.first(count);
        const std::vector<std::string_view> views(part.begin(), part.end());
        Args args;
        args.texts(views);
        const pg::Rows rows = statement.execute(args);
        RegisteredInPieces branches(rows);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (!wanted(rows.text(i, 1))) continue;
            const pg::Spi row_memory;
            Row row = read_row(rows, i);
            branches.attach(row);
            take(row);
        }
        left = left.subspan(count);
    }
}

std::vector<Row> load_locked(std::span<const std::string_view> gids) {
    static const std::string sql =
        select_sql("gid OPERATOR(pg_catalog.=) ANY ($1) FOR NO KEY UPDATE");
    static Statement statement(sql.c_str(), {TEXTARRAYOID});
    Args args;
    args.texts(gids);
    return read_rows(statement.execute(args));
}

std::vector<Row> load_waiting(core::Time after, std::string_view after_gid, long limit) {
    static const std::string sql = select_sql(
        "next_cron_time OPERATOR(pg_catalog.>=) $1"
        " AND (next_cron_time OPERATOR(pg_catalog.>) $1 OR gid OPERATOR(pg_catalog.>) $2)"
        " ORDER BY next_cron_time, gid LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED");
    static Statement statement(sql.c_str(), {TIMESTAMPTZOID, TEXTOID, INT8OID});
    Args args;
    args.time(after).text(after_gid).int8(limit);
    return read_rows(statement.execute(args));
}

std::vector<Row> load_in_hand(const std::optional<core::Time>& after, std::string_view after_gid,
                              core::Time now, long limit) {
    static const std::string sql = select_sql(
        "next_cron_time OPERATOR(pg_catalog.>=) $1"
        " AND (next_cron_time OPERATOR(pg_catalog.>) $1 OR gid OPERATOR(pg_catalog.>) $2)"
        " AND next_cron_time OPERATOR(pg_catalog.<=) $3 AND progress IS NOT NULL"
        " ORDER BY next_cron_time, gid LIMIT $4");
    static Statement statement(sql.c_str(), {TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID, INT8OID});
    Args args;
    if (after) {
        args.time(*after);
    } else {
        args.datum(TimestampTzGetDatum(DT_NOBEGIN));
    }
    args.text(after_gid).time(now).int8(limit);
    return read_rows(statement.execute(args));
}

core::Request request_of(const Row& row) {
    core::Request request = wire::decode_request(row.gid, row.type, row.request);
    for (const wire::Registration& branch : row.registered) wire::add_registered(request, branch);
    return request;
}

core::State state_of(const Row& row, const core::Request& request) {
    core::State state = core::recovered_fresh_state(request, row.status, row.create_time);
    if (row.progress) wire::decode_progress(request, *row.progress, state);
    state.rollback_reason = row.rollback_reason;
    return state;
}

std::optional<Row> load_one(std::string_view gid) {
    static const std::string sql = select_sql("gid OPERATOR(pg_catalog.=) $1");
    static Statement statement(sql.c_str(), {TEXTOID});
    Args args;
    args.text(gid);
    return first(read_rows(statement.execute(args)));
}

namespace {

// The returned gids say which rows were written; what is missing had another version.
void find_conflicts(const pg::Rows& written, std::span<const Settlement> all,
                    std::span<const std::size_t> wanted, std::vector<std::size_t>& conflicts) {
    if (written.processed() == wanted.size()) return;
    std::unordered_map<std::string_view, std::size_t> missing;
    for (std::size_t i : wanted) missing.emplace(all[i].gid, i);
    for (std::size_t i = 0; i < written.size(); ++i) missing.erase(written.text(i, 1));
    for (const auto& [gid, i] : missing) conflicts.push_back(i);
}

// "= ANY (ARRAY[u.gid])" and not "= u.gid": with statistics from a moment when the table was small,
// the plain join is planned as a scan of the whole key for each row of the batch.
void settle_clean(std::span<const Settlement> all, std::span<const std::size_t> which,
                  core::Time now, std::vector<std::size_t>& conflicts) {
    static Statement statement(
        "UPDATE dtm.trans AS t SET status = 'succeed',"
        " version = t.version OPERATOR(pg_catalog.+) 1,"
        " attempts = u.attempts, update_time = $4, finish_time = $4, next_cron_time = NULL"
        " FROM unnest($1, $2, $3) AS u(gid, version, attempts)"
        " WHERE t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])"
        " AND t.version OPERATOR(pg_catalog.=) u.version"
        " RETURNING t.gid",
        {TEXTARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID});
    std::vector<std::optional<std::string_view>> gids;
    std::vector<std::int64_t> versions;
    std::vector<std::int32_t> attempts;
    for (std::size_t i : which) {
        gids.emplace_back(all[i].gid);
        versions.push_back(all[i].version);
        attempts.push_back(all[i].attempts);
    }
    Args args;
    args.datum(pg::text_array(gids))
        .datum(pg::int8_array(versions))
        .datum(pg::int4_array(attempts));
    args.time(now);
    find_conflicts(statement.execute(args), all, which, conflicts);
}

constexpr const char* settle_whole_sql =
    "UPDATE dtm.trans AS t SET status = u.status, progress = u.progress,"
    " version = t.version OPERATOR(pg_catalog.+) 1, attempts = u.attempts, update_time = $10,"
    " finish_time = CASE WHEN u.status OPERATOR(pg_catalog.=) 'succeed' THEN $10 END,"
    " rollback_time = CASE WHEN u.status OPERATOR(pg_catalog.=) 'failed' THEN $10 END,"
    " next_cron_interval = u.interval_s, next_cron_time = u.due, last_error = u.last_error,"
    " rollback_reason = COALESCE(u.reason, t.rollback_reason)"
    " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)"
    " AS u(gid, version, status, progress, attempts, interval_s, due, last_error, reason)"
    " WHERE t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])"
    " AND t.version OPERATOR(pg_catalog.=) u.version"
    " RETURNING t.gid";

void settle_whole(std::span<const Settlement> all, std::span<const std::size_t> which,
                  core::Time now, std::vector<std::size_t>& conflicts) {
    static Statement statement(
        settle_whole_sql,
        {TEXTARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
         TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID});
    using Text = std::optional<std::string_view>;
    std::vector<Text> gids, statuses, progress, errors, reasons;
    std::vector<std::int64_t> versions;
    std::vector<std::int32_t> attempts, intervals;
    std::vector<std::optional<core::Time>> dues;
    const auto view = [](const std::optional<std::string>& s) { return s ? Text(*s) : Text(); };
    for (std::size_t i : which) {
        const Settlement& s = all[i];
        gids.emplace_back(s.gid);
        statuses.emplace_back(to_string(s.status));
        progress.push_back(view(s.progress));
        errors.push_back(view(s.last_error));
        reasons.push_back(view(s.rollback_reason));
        versions.push_back(s.version);
        attempts.push_back(s.attempts);
        intervals.push_back(s.interval_s);
        dues.push_back(s.due);
    }
    Args args;
    args.datum(pg::text_array(gids))
        .datum(pg::int8_array(versions))
        .datum(pg::text_array(statuses))
        .datum(pg::text_array(progress))
        .datum(pg::int4_array(attempts))
        .datum(pg::int4_array(intervals))
        .datum(pg::time_array(dues))
        .datum(pg::text_array(errors))
        .datum(pg::text_array(reasons));
    args.time(now);
    find_conflicts(statement.execute(args), all, which, conflicts);
}

}  // namespace

std::vector<std::size_t> held_by_others(std::span<const std::string_view> gids) {
    static Statement existing("SELECT gid FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) ANY ($1)",
                              {TEXTARRAYOID});
    static Statement statement(
        "SELECT gid FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) ANY ($1)"
        " FOR NO KEY UPDATE SKIP LOCKED",
        {TEXTARRAYOID});
    Args all_args, args;
    all_args.texts(gids);
    args.texts(gids);
    std::unordered_map<std::string_view, bool> free;  // gid -> could be locked
    const pg::Rows there = existing.execute(all_args);
    for (std::size_t i = 0; i < there.size(); ++i) free.emplace(there.text(i, 1), false);
    const pg::Rows locked = statement.execute(args);
    for (std::size_t i = 0; i < locked.size(); ++i) free[locked.text(i, 1)] = true;
    std::vector<std::size_t> held;
    for (std::size_t i = 0; i < gids.size(); ++i) {
        const auto found = free.find(gids[i]);
        // A row that is gone is a conflict, not a lock: the update finds that out.
        if (found != free.end() && !found->second) held.push_back(i);
    }
    return held;
}

SettleResult settle(std::span<const Settlement> all, core::Time now, bool skip_locked) {
    SettleResult result;
    if (skip_locked) {
        std::vector<std::string_view> gids;
        for (const Settlement& s : all) gids.push_back(s.gid);
        result.locked = held_by_others(gids);
    }
    std::vector<std::size_t> clean, whole;
    std::size_t next_held = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (next_held < result.locked.size() && result.locked[next_held] == i) {
            ++next_held;
            continue;
        }
        (all[i].clean_success ? clean : whole).push_back(i);
    }
    if (!clean.empty()) settle_clean(all, clean, now, result.conflicts);
    if (!whole.empty()) settle_whole(all, whole, now, result.conflicts);
    return result;
}

void put_aside(std::string_view gid, std::int64_t version, std::string_view why) {
    static Statement statement(
        "UPDATE dtm.trans SET attention = $3, next_cron_time = NULL,"
        " version = version OPERATOR(pg_catalog.+) 1, update_time = pg_catalog.clock_timestamp()"
        " WHERE gid OPERATOR(pg_catalog.=) $1"
        " AND (version OPERATOR(pg_catalog.=) $2 OR $2 OPERATOR(pg_catalog.=) 0)",
        {TEXTOID, INT8OID, TEXTOID});
    Args args;
    args.text(gid).int8(version).text(why);
    (void)statement.execute(args);
}

Finished finished_before(const std::optional<core::Time>& from, core::Time older_than, int limit,
                         std::span<const std::string> but) {
    if (!table_exists("trans_finished")) return {};
    static Statement statement(
        "SELECT gid, COALESCE(finish_time, rollback_time) FROM dtm.trans"
        " WHERE COALESCE(finish_time, rollback_time) OPERATOR(pg_catalog.<) $1"
        " AND COALESCE(finish_time, rollback_time) OPERATOR(pg_catalog.>=) $4"
        " AND status OPERATOR(pg_catalog.=) ANY ('{succeed,failed}'::pg_catalog.text[])"
        " AND gid OPERATOR(pg_catalog.<>) ALL ($3)"
        " ORDER BY COALESCE(finish_time, rollback_time) LIMIT $2 FOR UPDATE SKIP LOCKED",
        {TIMESTAMPTZOID, INT8OID, TEXTARRAYOID, TIMESTAMPTZOID});
    const std::vector<std::string_view> spared(but.begin(), but.end());
    Args args;
    args.time(older_than).int8(limit).texts(spared);
    if (from) {
        args.time(*from);
    } else {
        args.datum(TimestampTzGetDatum(DT_NOBEGIN));
    }
    const pg::Rows rows = statement.execute(args);
    Finished found;
    if (rows.size() > 0) found.first_end = rows.time(0, 2);
    for (std::size_t i = 0; i < rows.size(); ++i) found.gids.emplace_back(rows.text(i, 1));
    return found;
}

void remove(std::span<const std::string> gids) {
    static Statement statement("DELETE FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) ANY ($1)",
                               {TEXTARRAYOID});
    const std::vector<std::string_view> views(gids.begin(), gids.end());
    Args args;
    args.texts(views);
    (void)statement.execute(args);
    delete_registered(views);
}

std::int64_t purge_events(core::Time older_than, int limit) {
    if (!table_exists("event")) return 0;
    static Statement statement(
        "DELETE FROM dtm.event WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY("
        "  SELECT ctid FROM dtm.event WHERE time OPERATOR(pg_catalog.<) $1 LIMIT $2))",
        {TIMESTAMPTZOID, INT8OID});
    Args args;
    args.time(older_than).int8(limit);
    return static_cast<std::int64_t>(statement.execute(args).processed());
}

}  // namespace dtm::store
