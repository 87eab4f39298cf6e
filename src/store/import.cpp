// See import.hpp.
#include "store/import.hpp"

#include "store/registered.hpp"

#include <unordered_set>

namespace dtm::store {

bool may_submit(Oid import) {
    static pg::Statement statement(
        "SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(f.oid, 'EXECUTE'))"
        " FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_proc i"
        " ON f.pronamespace OPERATOR(pg_catalog.=) i.pronamespace"
        " WHERE f.proname OPERATOR(pg_catalog.=) 'dtm_submit' AND i.oid OPERATOR(pg_catalog.=) $1",
        {OIDOID});
    pg::Args args;
    args.oid(import);
    return statement.execute(args).boolean(0, 1);
}

// Version 2: the first belongs to rows that say nothing about their branches.
std::vector<bool> insert_imported(std::span<const ImportedTrans> all, Oid owner) {
    static pg::Statement statement(
        "INSERT INTO dtm.trans (gid, trans_type, status, owner, version, request, progress,"
        " create_time, next_cron_time, next_cron_interval, rollback_reason, result)"
        " SELECT u.gid, u.trans_type, u.status, $11::pg_catalog.regrole, 2, u.request, u.progress,"
        " u.create_time, u.due, u.interval_s, u.reason, u.result"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        " AS u(gid, trans_type, status, request, progress, create_time, due, interval_s, reason,"
        " result)"
        " ON CONFLICT (gid) DO NOTHING RETURNING gid",
        {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID,
         TIMESTAMPTZARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, OIDOID});
    using Text = std::optional<std::string_view>;
    std::vector<Text> gids, types, statuses, requests, progress, reasons, results;
    std::vector<std::optional<core::Time>> created, dues;
    std::vector<std::int32_t> intervals;
    const auto unless_empty = [](const std::string& s) { return s.empty() ? Text() : Text(s); };
    for (const ImportedTrans& t : all) {
        gids.emplace_back(t.gid);
        types.emplace_back(to_string(t.type));
        statuses.emplace_back(to_string(t.status));
        requests.emplace_back(t.request);
        progress.push_back(t.progress ? Text(*t.progress) : Text());
        created.emplace_back(t.create_time);
        dues.push_back(t.due);
        intervals.push_back(t.interval_s);
        reasons.push_back(unless_empty(t.rollback_reason));
        results.push_back(unless_empty(t.result));
    }
    pg::Args args;
    args.datum(pg::text_array(gids)).datum(pg::text_array(types)).datum(pg::text_array(statuses));
    args.datum(pg::text_array(requests)).datum(pg::text_array(progress));
    args.datum(pg::time_array(created)).datum(pg::time_array(dues));
    args.datum(pg::int4_array(intervals)).datum(pg::text_array(reasons));
    args.datum(pg::text_array(results)).oid(owner);
    const pg::Rows rows = statement.execute(args);
    std::unordered_set<std::string_view> inserted;
    for (std::size_t i = 0; i < rows.size(); ++i) inserted.insert(rows.text(i, 1));
    std::vector<bool> result;
    result.reserve(all.size());
    std::vector<const wire::DtmRegistration*> registered;
    for (const ImportedTrans& t : all) {
        result.push_back(inserted.contains(t.gid));
        if (!result.back()) continue;
        for (const wire::DtmRegistration& r : t.registered) registered.push_back(&r);
    }
    insert_registered(registered);
    return result;
}

bool insert_imported(const ImportedTopic& topic) {
    static pg::Statement statement(
        "INSERT INTO dtm.kv (cat, k, v, version, create_time, update_time)"
        " VALUES ('topics', $1, $2, $3, COALESCE($4, pg_catalog.clock_timestamp()),"
        " COALESCE($5, pg_catalog.clock_timestamp())) ON CONFLICT (cat, k) DO NOTHING",
        {TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID});
    pg::Args args;
    args.text(topic.name).text(topic.subscribers).int8(topic.version);
    args.time(topic.create_time).time(topic.update_time);
    return statement.execute(args).processed() == 1;
}

}  // namespace dtm::store
