// See listing.hpp.
#include "store/listing.hpp"

#include "crash_point.hpp"
#include "store/hurry.hpp"

extern "C" {
#include "utils/acl.h"
}

#include <algorithm>
#include <charconv>
#include <unordered_map>

namespace dtm::store {

namespace {

using pg::Args;
using pg::Statement;

// One call is a moment of the coordinator's: it looks at so many rows and shows so many bytes.
constexpr std::size_t max_looks = 20000;
constexpr long max_chunk = 5000;
constexpr int max_page = 1000;
constexpr std::size_t max_bytes = std::size_t{16} << 20;
constexpr std::size_t rows_per_read = 50;
// The year 5138: filters may name any time, and a timestamptz must hold it.
constexpr core::Time latest{core::Micros{100000000000000000}};
Datum bounded(core::Time time) {
    return TimestampTzGetDatum(pg::to_timestamptz(std::clamp(time, core::Time{}, latest)));
}

}  // namespace

// Digits and letters only: many clients put it into a URL as it is.
std::string position_text(const Position& position) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = std::to_string(position.time.time_since_epoch().count()) + "-";
    for (const char c : position.name) {
        const auto byte = static_cast<unsigned char>(c);
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::optional<Position> parse_position(std::string_view text) {
    const char* const end = text.data() + text.size();
    std::int64_t micros = 0;
    const auto time = std::from_chars(text.data(), end, micros);
    if (time.ec != std::errc() || time.ptr == end || *time.ptr != '-') return std::nullopt;
    if (micros < 0 || micros > latest.time_since_epoch().count()) return std::nullopt;
    Position position{core::Time(core::Micros(micros)), {}};
    for (const char* p = time.ptr + 1; p != end; p += 2) {
        unsigned byte = 0;
        if (end - p < 2) return std::nullopt;
        const auto one = std::from_chars(p, p + 2, byte, 16);
        if (one.ec != std::errc() || one.ptr != p + 2 || byte == 0) return std::nullopt;
        position.name += static_cast<char>(byte);
    }
    return position;
}

namespace {

struct Key {
    Position at;
    bool wanted = false;
};

// The next rows of the table, the wanted and the others.
std::vector<Key> look(const TransFilter& filter, const std::optional<Position>& after, long limit,
                      Oid viewer) {
    static Statement statement(
        "SELECT gid, create_time, ($4 IS NULL OR status OPERATOR(pg_catalog.=) $4)"
        " AND ($5 IS NULL OR trans_type OPERATOR(pg_catalog.=) $5)"
        " AND (pg_catalog.pg_has_role($6, owner::pg_catalog.oid, 'USAGE')"
        "   OR (SELECT pg_catalog.has_function_privilege($6,"
        "        'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE')))"
        " FROM dtm.trans WHERE create_time OPERATOR(pg_catalog.>=) $1"
        " AND create_time OPERATOR(pg_catalog.<=) $2"
        " AND ($3 IS NULL OR create_time OPERATOR(pg_catalog.<) $2"
        "   OR gid OPERATOR(pg_catalog.<) $3)"
        " ORDER BY create_time DESC, gid DESC LIMIT $7",
        {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, OIDOID, INT8OID});
    Args args;
    args.datum(filter.from ? bounded(*filter.from) : TimestampTzGetDatum(DT_NOBEGIN));
    if (after && (!filter.until || after->time <= *filter.until)) {
        args.time(after->time).text(after->name);
    } else {
        args.datum(filter.until ? bounded(*filter.until) : TimestampTzGetDatum(DT_NOEND));
        args.null();
    }
    args.text(filter.status).text(filter.trans_type).oid(viewer).int8(limit);
    const pg::Spi memory;  // of these rows alone
    const pg::Rows rows = statement.execute(args);
    std::vector<Key> keys;
    keys.reserve(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        keys.push_back({{rows.time(i, 2), std::string(rows.text(i, 1))}, rows.boolean(i, 3)});
    }
    return keys;
}

// Reads the rows of a page; less of them where they are large.
void read_page(std::vector<Key>& keys, TransPage& page) {
    std::size_t bytes = 0;
    for (std::size_t begin = 0; begin < keys.size(); begin += rows_per_read) {
        const std::size_t end = std::min(keys.size(), begin + rows_per_read);
        std::vector<std::string_view> gids;
        for (std::size_t i = begin; i < end; ++i) gids.emplace_back(keys[i].at.name);
        std::unordered_map<std::string, Stored> by_gid;
        {
            const pg::Spi memory;
            for (Stored& row : find_all(gids)) by_gid.emplace(row.gid, std::move(row));
        }
        for (std::size_t i = begin; i < end; ++i) {
            const auto found = by_gid.find(keys[i].at.name);
            if (found == by_gid.end()) continue;
            bytes += found->second.request.size() + found->second.progress.value_or("").size();
            page.rows.push_back(std::move(found->second));
        }
        if (bytes < max_bytes || end == keys.size()) continue;
        page.next = keys[end - 1].at;
        return;
    }
}

}  // namespace

TransPage list_transactions(const TransFilter& filter, const std::optional<Position>& after,
                            int limit, Oid viewer) {
    const auto wanted = static_cast<std::size_t>(std::clamp(limit, 1, max_page));
    TransPage page;
    std::vector<Key> keys;
    std::optional<Position> at = after;
    std::size_t looked = 0;
    for (long chunk = static_cast<long>(wanted) + 1;; chunk = std::min(chunk * 4, max_chunk)) {
        std::vector<Key> seen = look(filter, at, chunk, viewer);
        for (Key& key : seen) {
            if (key.wanted && keys.size() == wanted) {
                page.next = keys.back().at;
                break;
            }
            at = key.at;
            if (key.wanted) keys.push_back(std::move(key));
        }
        if (page.next || seen.size() < static_cast<std::size_t>(chunk)) break;
        looked += seen.size();
        if (looked < max_looks) continue;
        page.next = at;
        break;
    }
    read_page(keys, page);
    return page;
}

namespace {

constexpr const char* kv_columns =
    "SELECT cat, k, v, version, create_time, update_time FROM dtm.kv WHERE ";

std::vector<KvRow> read_kv(const pg::Rows& rows) {
    std::vector<KvRow> all;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        KvRow row;
        row.cat = rows.text(i, 1);
        row.k = rows.text(i, 2);
        row.v = rows.text(i, 3);
        row.version = rows.int8(i, 4);
        row.create_time = rows.time(i, 5);
        row.update_time = rows.time(i, 6);
        all.push_back(std::move(row));
    }
    return all;
}

}  // namespace

KvPage list_kv(std::string_view cat, const std::optional<Position>& after, int limit) {
    static const std::string sql =
        std::string(kv_columns) +
        "cat OPERATOR(pg_catalog.=) $1 AND ($2 IS NULL OR create_time OPERATOR(pg_catalog.<) $2"
        " OR (create_time OPERATOR(pg_catalog.=) $2 AND k OPERATOR(pg_catalog.<) $3))"
        " ORDER BY create_time DESC, k DESC LIMIT $4";
    static Statement statement(sql.c_str(), {TEXTOID, TIMESTAMPTZOID, TEXTOID, INT8OID});
    const auto wanted = static_cast<std::size_t>(std::clamp(limit, 1, max_page));
    Args args;
    args.text(cat);
    if (after) {
        args.time(after->time).text(after->name);
    } else {
        args.null().null();
    }
    args.int8(static_cast<std::int64_t>(wanted) + 1);
    KvPage page{read_kv(statement.execute(args)), std::nullopt};
    if (page.rows.size() > wanted) {
        page.rows.pop_back();
        page.next = Position{page.rows.back().create_time, page.rows.back().k};
    }
    return page;
}

std::vector<KvRow> find_kv(const std::optional<std::string>& cat,
                           const std::optional<std::string>& key) {
    static const std::string sql = std::string(kv_columns) +
                                   "($1 IS NULL OR cat OPERATOR(pg_catalog.=) $1)"
                                   " AND ($2 IS NULL OR k OPERATOR(pg_catalog.=) $2)"
                                   " ORDER BY cat, k LIMIT $3";
    static Statement statement(sql.c_str(), {TEXTOID, TEXTOID, INT8OID});
    Args args;
    args.text(cat).text(key).int8(max_page);
    return read_kv(statement.execute(args));
}

namespace {

bool is_member(Oid role, Oid owner) {
    return pg::call([=] { return has_privs_of_role(role, owner); });
}

bool observes_all(Oid role) {
    static Statement statement(
        "SELECT pg_catalog.has_function_privilege($1,"
        " 'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE')",
        {OIDOID});
    Args args;
    args.oid(role);
    return statement.execute(args).boolean(0, 1);
}

// None: it waits for something else than a retry, or cannot be read.
std::optional<Hurried> hurried_row(const Row& row, core::Time now, const core::Policy& policy) {
    if (row.unreadable) return std::nullopt;
    try {
        const Hurried hurried = hurried_up(row, now, policy);
        if (hurried.due && *hurried.due <= now) return hurried;
    } catch (const std::runtime_error&) {  // of its texts
    }
    return std::nullopt;
}

void write_due(const std::vector<std::string>& gids, const std::vector<Hurried>& all,
               core::Time now) {
    static Statement statement(
        "UPDATE dtm.trans AS t SET progress = COALESCE(u.progress, t.progress),"
        " next_cron_time = $3, update_time = $3, version = t.version OPERATOR(pg_catalog.+) 1"
        " FROM unnest($1, $2) AS u(gid, progress)"
        " WHERE t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])",
        {TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID});
    if (gids.empty()) return;
    std::vector<std::optional<std::string_view>> names(gids.begin(), gids.end()), progress;
    for (const Hurried& h : all) progress.push_back(h.progress);
    Args args;
    args.datum(pg::text_array(names)).datum(pg::text_array(progress)).time(now);
    statement.execute(args);
    DTM_CRASH_POINT("store.waits_reset");
}

}  // namespace

Reset reset_waiting(core::Seconds timeout, int limit, Oid role, core::Time now,
                    const core::Policy& policy) {
    const auto wanted = static_cast<std::size_t>(std::clamp(limit, 0, 10 * max_page));
    const std::size_t chunk = std::clamp<std::size_t>(wanted + 1, 100, max_page);
    Reset reset;
    std::vector<Hurried> all;
    core::Time after = now + timeout;
    std::string after_gid;
    for (std::size_t looked = 0; looked < max_looks && !reset.has_remaining;) {
        const pg::Spi memory;  // of these rows alone
        const std::vector<Row> rows = load_waiting(after, after_gid, static_cast<long>(chunk));
        for (const Row& row : rows) {
            if (!is_member(role, row.owner)) continue;
            auto hurried = hurried_row(row, now, policy);
            if (!hurried) continue;
            if (all.size() == wanted) {
                reset.has_remaining = true;
                break;
            }
            reset.gids.push_back(row.gid);
            all.push_back(std::move(*hurried));
        }
        if (rows.size() < chunk) break;
        looked += rows.size();
        after = rows.back().next_cron_time.value_or(after);
        after_gid = rows.back().gid;
    }
    write_due(reset.gids, all, now);
    return reset;
}

std::vector<std::string> waiting_beside(Oid viewer, core::Time now, const core::Policy& policy,
                                        std::size_t most) {
    const bool everybodys = observes_all(viewer);
    std::vector<std::string> gids;
    std::optional<core::Time> after;
    std::string after_gid;
    for (bool more = true; more && gids.size() < most;) {
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
        const pg::Spi memory;  // of these rows alone
        const std::vector<Row> rows = load_in_hand(after, after_gid, now, max_page);
        for (const Row& row : rows) {
            if (gids.size() == most) break;
            if (!everybodys && !is_member(viewer, row.owner)) continue;
            const auto hurried = hurried_row(row, now, policy);
            if (hurried && hurried->waited) gids.push_back(row.gid);
        }
        more = rows.size() == static_cast<std::size_t>(max_page);
        if (rows.empty()) break;
        after = rows.back().next_cron_time;
        after_gid = rows.back().gid;
    }
    return gids;
}

std::size_t reset_all(Oid viewer, core::Time now, const core::Policy& policy, std::size_t most_gids,
                      std::vector<std::string>& gids) {
    const bool everybodys = observes_all(viewer);
    std::size_t count = 0;
    core::Time after = now;
    std::string after_gid;
    for (bool more = true; more;) {
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
        const pg::Spi memory;  // of these rows alone
        const std::vector<Row> rows = load_waiting(after, after_gid, max_page);
        std::vector<std::string> names;
        std::vector<Hurried> all;
        for (const Row& row : rows) {
            if (!everybodys && !is_member(viewer, row.owner)) continue;
            auto hurried = hurried_row(row, now, policy);
            if (!hurried) continue;
            names.push_back(row.gid);
            all.push_back(std::move(*hurried));
            if (gids.size() < most_gids) gids.push_back(row.gid);
        }
        write_due(names, all, now);
        count += names.size();
        more = rows.size() == static_cast<std::size_t>(max_page);
        if (rows.empty()) break;
        after = rows.back().next_cron_time.value_or(after);
        after_gid = rows.back().gid;
    }
    return count;
}

}  // namespace dtm::store
