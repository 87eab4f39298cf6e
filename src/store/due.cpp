// See due.hpp.
#include "store/due.hpp"

#include "pg/spi.hpp"

extern "C" {
#include "storage/itemptr.h"
}

#include <algorithm>

namespace dtm::store {
namespace {

constexpr int offset_bits = 16;

std::uint64_t place_of(Datum ctid) {
    auto* tid = reinterpret_cast<ItemPointer>(DatumGetPointer(ctid));
    return std::uint64_t{ItemPointerGetBlockNumberNoCheck(tid)} << offset_bits |
           ItemPointerGetOffsetNumberNoCheck(tid);
}

}  // namespace

// Sorted by the index alone: with the gid in the order, each piece of a walk would sort all rows
// that are due at the same time, and an operator may make a million of them.
std::vector<Due> due(const DuePlace& after, core::Time until, int worker, int workers, long limit) {
    static pg::Statement whole(
        "SELECT gid, next_cron_time, ctid FROM dtm.trans WHERE next_cron_time IS NOT NULL"
        " AND next_cron_time OPERATOR(pg_catalog.>=) $1"
        " AND next_cron_time OPERATOR(pg_catalog.<=) $2"
        " AND (next_cron_time OPERATOR(pg_catalog.>) $1 OR ctid OPERATOR(pg_catalog.>) $4)"
        " ORDER BY next_cron_time LIMIT $3",
        {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TIDOID});
    // hashtext() of a "C" column is the same hash as hub::slice_of.
    static pg::Statement slice(
        "SELECT gid, next_cron_time, ctid FROM dtm.trans WHERE next_cron_time IS NOT NULL"
        " AND next_cron_time OPERATOR(pg_catalog.>=) $1"
        " AND next_cron_time OPERATOR(pg_catalog.<=) $2"
        " AND (next_cron_time OPERATOR(pg_catalog.>) $1 OR ctid OPERATOR(pg_catalog.>) $4)"
        " AND (pg_catalog.hashtext(gid)::pg_catalog.int8"
        " OPERATOR(pg_catalog.&) 4294967295::pg_catalog.int8)"
        " OPERATOR(pg_catalog.%) $5 OPERATOR(pg_catalog.=) $6"
        " ORDER BY next_cron_time LIMIT $3",
        {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TIDOID, INT8OID, INT8OID});
    ItemPointerData row;
    ItemPointerSet(&row, static_cast<BlockNumber>(after.row >> offset_bits),
                   static_cast<OffsetNumber>(after.row & ((1u << offset_bits) - 1)));
    pg::Args args;
    if (after.due) {
        args.time(*after.due);
    } else {
        args.datum(TimestampTzGetDatum(DT_NOBEGIN));
    }
    args.time(until).int8(limit).datum(PointerGetDatum(&row));
    if (workers > 1) args.int8(workers).int8(worker);
    const pg::Rows rows = (workers > 1 ? slice : whole).execute(args);
    std::vector<Due> all;
    all.reserve(rows.size());
    DuePlace last = after;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const core::Time time = rows.time(i, 2);
        const std::uint64_t place = place_of(rows.value(i, 3));
        // Never back, or a walk would not end.
        last.row = last.due == time ? std::max(last.row, place) : place;
        last.due = time;
        all.push_back({std::string(rows.text(i, 1)), last});
    }
    return all;
}

std::vector<std::string> changed(std::span<const std::string_view> gids,
                                 std::span<const std::int64_t> versions) {
    // "= ANY (ARRAY[…])" as in settle(): one probe of the key for each.
    static pg::Statement statement(
        "SELECT u.gid FROM unnest($1, $2) AS u(gid, version)"
        " LEFT JOIN dtm.trans t ON t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])"
        " WHERE t.version IS NULL OR t.version OPERATOR(pg_catalog.<>) u.version",
        {TEXTARRAYOID, INT8ARRAYOID});
    pg::Args args;
    args.texts(gids).datum(pg::int8_array(versions));
    const pg::Rows rows = statement.execute(args);
    std::vector<std::string> found;
    for (std::size_t i = 0; i < rows.size(); ++i) found.emplace_back(rows.text(i, 1));
    return found;
}

}  // namespace dtm::store
