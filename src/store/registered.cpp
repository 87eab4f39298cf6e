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

#define DTM_REGISTERED_COLUMNS "gid, branch_id, op, url, cancel, status, data"
#define DTM_INSERT_REGISTERED \
    "INSERT INTO dtm.trans_branch (" DTM_REGISTERED_COLUMNS ", create_time)"

// Parameters $1 to $7: the columns, an array each.
class Columns {
public:
    void add(const wire::Registration& r) {
        gids_.emplace_back(r.gid);
        branches_.emplace_back(r.branch_id);
        ops_.emplace_back(r.op);
        urls_.emplace_back(r.url);
        cancels_.emplace_back(r.cancel);
        statuses_.emplace_back(to_string(r.status));
        data_.emplace_back(r.data);
    }
    void append_to(Args& args) const {
        for (const Texts* column : {&gids_, &branches_, &ops_, &urls_, &cancels_, &statuses_}) {
            args.datum(pg::text_array(*column));
        }
        args.datum(pg::bytea_array(data_));
    }

private:
    Texts gids_, branches_, ops_, urls_, cancels_, statuses_;
    std::vector<std::string_view> data_;
};

}  // namespace

bool can_register() { return table_exists("trans_branch"); }

RegisteredByGid registered(std::span<const std::string_view> gids, bool read_only) {
    static Statement statement("SELECT " DTM_REGISTERED_COLUMNS
                               " FROM dtm.trans_branch WHERE gid OPERATOR(pg_catalog.=) ANY ($1)"
                               " ORDER BY gid, create_time, branch_id, op",
                               {TEXTARRAYOID});
    RegisteredByGid all;
    if (gids.empty() || !can_register()) return all;
    Args args;
    args.texts(gids);
    const pg::Rows rows = statement.execute(args, read_only);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        wire::Registration r;
        r.gid = rows.text(i, 1);
        r.branch_id = rows.text(i, 2);
        r.op = rows.text(i, 3);
        r.url = rows.text(i, 4);
        r.cancel = rows.text(i, 5);
        r.status = status_of(rows.text(i, 6));
        r.data = rows.text(i, 7);
        all[r.gid].push_back(std::move(r));
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
    if (!core::has_registered(type)) return {};
    const std::string_view one[] = {gid};
    RegisteredByGid by_gid = registered(one, read_only);
    if (by_gid.empty()) return {};
    std::vector<wire::Registration>& all = by_gid.begin()->second;
    for (wire::Registration& r : all) r.type = type;
    return std::move(all);
}

std::vector<bool> insert_registered(std::span<const wire::Registration* const> all, Oid role,
                                    core::Time now) {
    static_assert(most_registered == 1000 && most_registered_bytes == 8388608);
    // FOR SHARE: a submit, an abort or a timeout waits until this transaction ends, or has won.
    static Statement statement(
        DTM_INSERT_REGISTERED
        " SELECT u.gid, u.branch_id, u.op, u.url, u.cancel, u.status, u.data, $9"
        " FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)"
        " AS u(" DTM_REGISTERED_COLUMNS
        ", trans_type) JOIN dtm.trans t ON t.gid OPERATOR(pg_catalog.=) ANY (ARRAY[u.gid])"
        " WHERE t.status OPERATOR(pg_catalog.=) 'prepared'"
        " AND (SELECT pg_catalog.count(*) OPERATOR(pg_catalog.<) 1000"
        "  AND COALESCE(pg_catalog.sum(pg_catalog.octet_length(b.data)), 0)"
        "   OPERATOR(pg_catalog.<) 8388608"
        "  FROM dtm.trans_branch b WHERE b.gid OPERATOR(pg_catalog.=) t.gid)"
        " AND t.trans_type OPERATOR(pg_catalog.=) u.trans_type AND " DTM_OWNED_ROW(
            "$10") " FOR SHARE OF t ON CONFLICT (gid, branch_id, op) DO NOTHING RETURNING gid",
        {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
         BYTEAARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, OIDOID});
    Columns columns;
    Texts types;
    for (const wire::Registration* r : all) {
        columns.add(*r);
        types.emplace_back(to_string(r->type));
    }
    Args args;
    columns.append_to(args);
    args.datum(pg::text_array(types)).time(now).oid(role);
    const pg::Rows rows = statement.execute(args);
    DTM_CRASH_POINT("store.branches_registered");
    std::unordered_map<std::string_view, std::size_t> index;
    for (std::size_t i = 0; i < all.size(); ++i) index.emplace(all[i]->gid, i);
    std::vector<bool> inserted(all.size());
    for (std::size_t i = 0; i < rows.size(); ++i) inserted[index.at(rows.text(i, 1))] = true;
    return inserted;
}

void insert_registered(std::span<const wire::DtmRegistration* const> all) {
    static Statement statement(DTM_INSERT_REGISTERED
                               " SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
                               {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
                                TEXTARRAYOID, TEXTARRAYOID, BYTEAARRAYOID, TIMESTAMPTZARRAYOID});
    if (all.empty()) return;
    Columns columns;
    std::vector<std::optional<core::Time>> times;
    for (const wire::DtmRegistration* r : all) {
        columns.add(r->registration);
        times.emplace_back(r->create_time);
    }
    Args args;
    columns.append_to(args);
    args.datum(pg::time_array(times));
    statement.execute(args);
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
