// See due.hpp.
#include "store/due.hpp"

#include "pg/spi.hpp"

extern "C" {
#include "access/htup_details.h"
#include "storage/itemptr.h"
}

#include <algorithm>

namespace dtm::store {
namespace {

#ifndef TIDARRAYOID
constexpr Oid TIDARRAYOID = 1010;
#endif
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

std::uint64_t places_of_page() { return MaxHeapTuplesPerPage; }

std::uint64_t places_of_table() {
    static pg::Statement statement("SELECT pg_catalog.pg_relation_size('dtm.trans')", {});
    pg::Args none;
    const auto bytes = static_cast<std::uint64_t>(statement.execute(none).int8(0, 1));
    return bytes / BLCKSZ * places_of_page();
}

// COALESCE, or the planner might take the index. Unlike a scan of whole pages this reads no row but
// those named, and one that is damaged fails alone.
std::vector<std::string> due_at(std::uint64_t first, std::uint64_t count, core::Time until,
                                int worker, int workers) {
    static pg::Statement statement(
        "SELECT gid FROM dtm.trans WHERE ctid OPERATOR(pg_catalog.=) ANY ($1)"
        " AND COALESCE(next_cron_time, 'infinity') OPERATOR(pg_catalog.<=) $2"
        " AND ($3 OPERATOR(pg_catalog.=) 1"
        "  OR (pg_catalog.hashtext(gid)::pg_catalog.int8"
        "  OPERATOR(pg_catalog.&) 4294967295::pg_catalog.int8)"
        "  OPERATOR(pg_catalog.%) $3 OPERATOR(pg_catalog.=) $4)",
        {TIDARRAYOID, TIMESTAMPTZOID, INT8OID, INT8OID});
    std::vector<ItemPointerData> places(count);
    for (ItemPointerData& place : places) {
        ItemPointerSet(&place, static_cast<BlockNumber>(first / places_of_page()),
                       static_cast<OffsetNumber>(first % places_of_page() + 1));
        ++first;
    }
    pg::Args args;
    args.datum(pg::tid_array(places)).time(until).int8(workers).int8(worker);
    const pg::Rows rows = statement.execute(args);
    std::vector<std::string> gids;
    for (std::size_t i = 0; i < rows.size(); ++i) gids.emplace_back(rows.text(i, 1));
    return gids;
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
