// See barrier.hpp.
#include "store/barrier.hpp"

#include "store/access.hpp"
#include "store/plain_table.hpp"

extern "C" {
#include "access/relation.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <unordered_set>

namespace dtm::store {
namespace {

Oid barrier_oid() {
    return pg::call([]() -> Oid {
        const Oid schema = get_namespace_oid("dtm_barrier", true);
        return OidIsValid(schema) ? get_relname_relid("barrier", schema) : InvalidOid;
    });
}

// What the table held when it was adopted: rows up to this id, which may have no time.
struct Adoption {
    std::int64_t last_id = 0;
    pg::UnixTime time{};
};

Adoption adoption() {
    static pg::Statement select(
        "SELECT v::pg_catalog.int8, update_time FROM dtm.kv"
        " WHERE cat OPERATOR(pg_catalog.=) 'barrier' AND k OPERATOR(pg_catalog.=) 'adopted'",
        {});
    pg::Args none;
    const pg::Rows rows = select.execute(none);
    if (rows.size() == 0) return {};
    return {rows.int8(0, 1), rows.time(0, 2)};
}

}  // namespace

bool barrier_table_exists() { return OidIsValid(barrier_oid()); }

BarrierTable::BarrierTable(Use use) : exceptions_(std::uncaught_exceptions()) {
    const Oid table = barrier_oid();
    const LOCKMODE lock = use == Use::write ? RowExclusiveLock : AccessShareLock;
    relation_ = pg::call([table, lock]() -> Relation {
        return OidIsValid(table) ? try_relation_open(table, lock) : nullptr;
    });
    if (relation_ != nullptr && relation_->rd_rel->relkind != RELKIND_RELATION) {
        throw pg::SqlError("42809", "dtm_barrier.barrier is not a table", {},
                           "Rename it; SELECT dtm.install_barrier() makes the table.");
    }
    if (relation_ == nullptr) {
        throw pg::SqlError("55000", "the barrier table dtm_barrier.barrier does not exist", {},
                           "SELECT dtm.install_barrier() makes it.");
    }
}

BarrierTable::~BarrierTable() {
    if (std::uncaught_exceptions() == exceptions_) relation_close(relation_, NoLock);
}

Oid BarrierTable::owner() const { return relation_->rd_rel->relowner; }

std::optional<int> BarrierTable::width(std::string_view column) const {
    TupleDesc desc = RelationGetDescr(relation_);
    for (int i = 0; i < desc->natts; ++i) {
        const FormData_pg_attribute* a = TupleDescAttr(desc, i);
        if (a->attisdropped || column != NameStr(a->attname)) continue;
        if (a->atttypmod < static_cast<int>(VARHDRSZ)) return std::nullopt;
        return a->atttypmod - static_cast<int>(VARHDRSZ);
    }
    return std::nullopt;
}

bool BarrierTable::is_plain() const { return store::is_plain(relation_); }

AsBarrierOwner::AsBarrierOwner(const BarrierTable& table) {
    if (table.is_plain()) {
        role_.emplace(table.owner());
    } else {
        confined_.emplace(table.owner());
    }
}

bool insert_barrier(const BarrierKey& key, std::string_view op, std::string_view reason) {
    static pg::Statement insert(
        "INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)"
        " VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (gid, branch_id, op, barrier_id) DO NOTHING",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    pg::Args args;
    args.text(key.trans_type).text(key.gid).text(key.branch_id);
    args.text(op).text(key.barrier_id).text(reason);
    return insert.execute(args).processed() != 0;
}

std::optional<std::string> barrier_reason(const BarrierKey& key, std::string_view op) {
    static pg::Statement select(
        "SELECT reason::pg_catalog.text FROM ONLY dtm_barrier.barrier"
        " WHERE gid::pg_catalog.text OPERATOR(pg_catalog.=) $1"
        " AND branch_id::pg_catalog.text OPERATOR(pg_catalog.=) $2"
        " AND op::pg_catalog.text OPERATOR(pg_catalog.=) $3"
        " AND barrier_id::pg_catalog.text OPERATOR(pg_catalog.=) $4",
        {TEXTOID, TEXTOID, TEXTOID, TEXTOID});
    pg::Args args;
    args.text(key.gid).text(key.branch_id).text(op).text(key.barrier_id);
    const pg::Rows rows = select.execute(args);
    return rows.size() == 0 ? std::nullopt : std::optional(std::string(rows.text(0, 1)));
}

namespace {

struct Candidates {
    std::vector<std::int64_t> ids;
    std::vector<std::string> gids;
    std::size_t looked_at = 0;
    std::int64_t last_id = 0;
};

// In the order of the primary key, which is that of time but for transactions side by side: no
// index on create_time is needed, which every barrier call would pay for.
Candidates old_rows(std::int64_t after_id, pg::UnixTime older_than, const Adoption& adoption,
                    int limit) {
    static pg::Statement look(
        "SELECT id::pg_catalog.int8, gid::pg_catalog.text,"
        " coalesce(create_time::pg_catalog.timestamptz,"
        "          CASE WHEN id OPERATOR(pg_catalog.<=) $3 THEN $4 END, 'infinity')"
        " OPERATOR(pg_catalog.<) $2"
        " FROM ONLY dtm_barrier.barrier WHERE id OPERATOR(pg_catalog.>) $1 ORDER BY id LIMIT $5",
        {INT8OID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID});
    pg::Args args;
    args.int8(after_id).time(older_than).int8(adoption.last_id).time(adoption.time).int8(limit);
    const pg::Rows rows = look.execute(args);
    Candidates found;
    found.looked_at = rows.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        found.last_id = rows.int8(i, 1);
        if (!rows.boolean(i, 3)) continue;
        found.ids.push_back(rows.int8(i, 1));
        found.gids.emplace_back(rows.text(i, 2));
    }
    return found;
}

void keep_unfinished(Candidates& found) {
    static pg::Statement unfinished(
        "SELECT gid FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) ANY ($1)"
        " AND status OPERATOR(pg_catalog.<>) ALL ('{succeed,failed}'::pg_catalog.text[])",
        {TEXTARRAYOID});
    const std::vector<std::string_view> gids(found.gids.begin(), found.gids.end());
    pg::Args args;
    args.texts(gids);
    const pg::Rows rows = unfinished.execute(args);
    std::unordered_set<std::string_view> alive;
    for (std::size_t i = 0; i < rows.size(); ++i) alive.insert(rows.text(i, 1));
    std::size_t kept = 0;
    for (std::size_t i = 0; i < found.ids.size(); ++i) {
        if (!alive.contains(found.gids[i])) found.ids[kept++] = found.ids[i];
    }
    found.ids.resize(kept);
}

std::int64_t remove(const std::vector<std::int64_t>& ids) {
    static pg::Statement remove(
        "DELETE FROM ONLY dtm_barrier.barrier WHERE id OPERATOR(pg_catalog.=) ANY ($1)",
        {INT8ARRAYOID});
    pg::Args args;
    args.datum(pg::int8_array(ids));
    return static_cast<std::int64_t>(remove.execute(args).processed());
}

}  // namespace

PurgeBatch purge_barriers(const BarrierTable& table, std::int64_t after_id, pg::UnixTime older_than,
                          int limit) {
    Candidates found;
    {
        const Adoption adopted = [] {
            const AsOwner ours;
            return adoption();
        }();
        const AsBarrierOwner theirs(table);
        found = old_rows(after_id, older_than, adopted, limit);
    }
    PurgeBatch batch;
    // A batch without an old row ends the walk: what follows is younger.
    batch.more = found.looked_at == static_cast<std::size_t>(limit) && !found.ids.empty();
    batch.last_id = batch.more ? found.last_id : after_id;
    if (found.ids.empty()) return batch;
    {
        const AsOwner ours;
        keep_unfinished(found);
    }
    const AsBarrierOwner theirs(table);
    batch.removed = remove(found.ids);
    return batch;
}

}  // namespace dtm::store
