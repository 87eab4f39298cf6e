// See registered.hpp.
#include "store/registered.hpp"

#include "crash_point.hpp"
#include "store/access.hpp"
#include "store/visible.hpp"

namespace dtm::store {

namespace {

using pg::Args;
using pg::Statement;
using Texts = std::vector<std::optional<std::string_view>>;

core::BranchStatus status_of(std::string_view text) {
    if (text == "succeed") return core::BranchStatus::succeed;
    return text == "failed" ? core::BranchStatus::failed : core::BranchStatus::prepared;
}

}  // namespace

bool can_register() { return table_exists("trans_branch"); }

std::vector<RegisteredRow> registered(std::string_view gid, bool read_only) {
    const std::string_view one[] = {gid};
    RegisteredByGid all = registered(one, read_only);
    return all.empty() ? std::vector<RegisteredRow>() : std::move(all.begin()->second);
}

RegisteredByGid registered(std::span<const std::string_view> gids, bool read_only) {
    static Statement statement(
        "SELECT gid, branch_id, op, url, cancel, status, data, create_time FROM dtm.trans_branch"
        " WHERE gid OPERATOR(pg_catalog.=) ANY ($1) ORDER BY gid, create_time, branch_id, op",
        {TEXTARRAYOID});
    RegisteredByGid all;
    if (gids.empty() || !can_register()) return all;
    Args args;
    args.texts(gids);
    const pg::Rows rows = statement.execute(args, read_only);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        RegisteredRow row;
        wire::Registration& r = row.registration;
        r.gid = rows.text(i, 1);
        r.branch_id = rows.text(i, 2);
        r.op = rows.text(i, 3);
        r.url = rows.text(i, 4);
        r.cancel = rows.text(i, 5);
        r.status = status_of(rows.text(i, 6));
        r.data = rows.text(i, 7);
        row.create_time = rows.time(i, 8);
        all[r.gid].push_back(std::move(row));
    }
    return all;
}

std::unordered_map<std::string, std::size_t> registered_bytes(
    std::span<const std::string_view> gids) {
    static Statement statement(
        "SELECT gid, pg_catalog.sum(pg_catalog.octet_length(data)"
        " OPERATOR(pg_catalog.+) pg_catalog.octet_length(url)"
        " OPERATOR(pg_catalog.+) pg_catalog.octet_length(cancel)) FROM dtm.trans_branch"
        " WHERE gid OPERATOR(pg_catalog.=) ANY ($1) GROUP BY gid",
        {TEXTARRAYOID});
    std::unordered_map<std::string, std::size_t> all;
    if (gids.empty() || !can_register()) return all;
    Args args;
    args.texts(gids);
    const pg::Rows rows = statement.execute(args);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        all.emplace(rows.text(i, 1), static_cast<std::size_t>(rows.int8(i, 2)));
    }
    return all;
}

std::vector<wire::Registration> registrations(std::string_view gid, core::TransType type,
                                              bool read_only) {
    std::vector<wire::Registration> all;
    if (!core::has_registered(type)) return all;
    for (RegisteredRow& row : registered(gid, read_only)) {
        row.registration.type = type;
        all.push_back(std::move(row.registration));
    }
    return all;
}

std::vector<bool> insert_registered(std::span<const wire::Registration* const> all, Oid role,
                                    core::Time now) {
    static_assert(most_registered == 1000 && most_registered_bytes == 8388608);
    // FOR SHARE: a submit, an abort or a timeout waits until this transaction ends, or has won.
    static Statement statement(
        "INSERT INTO dtm.trans_branch (gid, branch_id, op, url, cancel, status, data, create_time)"
        " SELECT u.gid, u.branch_id, u.op, u.url, u.cancel, u.status, u.data, $9"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
        " AS u(gid, trans_type, branch_id, op, url, cancel, status, data)"
        " JOIN dtm.trans t ON t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])"
        " WHERE t.status OPERATOR(pg_catalog.=) 'prepared'"
        " AND (SELECT pg_catalog.count(*) OPERATOR(pg_catalog.<) 1000"
        "  AND COALESCE(pg_catalog.sum(pg_catalog.octet_length(b.data)), 0)"
        "   OPERATOR(pg_catalog.<) 8388608"
        "  FROM dtm.trans_branch b WHERE b.gid OPERATOR(pg_catalog.=) t.gid)"
        " AND t.trans_type OPERATOR(pg_catalog.=) u.trans_type AND " DTM_OWNED_ROW(
            "$10") " FOR SHARE OF t ON CONFLICT (gid, branch_id, op) DO NOTHING RETURNING gid",
        {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
         TEXTARRAYOID, BYTEAARRAYOID, TIMESTAMPTZOID, OIDOID});
    Texts gids, types, branches, ops, urls, cancels, statuses;
    std::vector<std::string_view> data;
    for (const wire::Registration* r : all) {
        gids.emplace_back(r->gid);
        types.emplace_back(to_string(r->type));
        branches.emplace_back(r->branch_id);
        ops.emplace_back(r->op);
        urls.emplace_back(r->url);
        cancels.emplace_back(r->cancel);
        statuses.emplace_back(to_string(r->status));
        data.emplace_back(r->data);
    }
    Args args;
    for (const Texts* column : {&gids, &types, &branches, &ops, &urls, &cancels, &statuses}) {
        args.datum(pg::text_array(*column));
    }
    args.datum(pg::bytea_array(data)).time(now).oid(role);
    const pg::Rows rows = statement.execute(args);
    DTM_CRASH_POINT("store.branches_registered");
    std::unordered_map<std::string_view, std::size_t> index;
    for (std::size_t i = 0; i < all.size(); ++i) index.emplace(all[i]->gid, i);
    std::vector<bool> inserted(all.size());
    for (std::size_t i = 0; i < rows.size(); ++i) inserted[index.at(rows.text(i, 1))] = true;
    return inserted;
}

void delete_registered(std::span<const std::string_view> gids) {
    static Statement statement(
        "DELETE FROM dtm.trans_branch WHERE gid OPERATOR(pg_catalog.=) ANY ($1)", {TEXTARRAYOID});
    if (gids.empty() || !can_register()) return;
    Args args;
    args.texts(gids);
    statement.execute(args);
}

}  // namespace dtm::store
