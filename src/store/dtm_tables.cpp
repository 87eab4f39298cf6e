// See dtm_tables.hpp. The texts of statements hold two things that are not constant: the names of
// the tables, quoted, and nothing else. ONLY, because nobody looked at child tables.
#include "store/dtm_tables.hpp"

#include "pg/session.hpp"
#include "store/plain_table.hpp"

extern "C" {
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "storage/proc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <algorithm>
#include <unordered_map>

namespace dtm::store {
namespace {

enum class Kind { text, bytes, time, number };

struct Column {
    const char* name;
    Kind kind;
};

struct Table {
    const char* name;
    std::span<const Column> columns;
};

constexpr Column trans_columns[] = {
    {"id", Kind::number},           {"gid", Kind::text},
    {"trans_type", Kind::text},     {"status", Kind::text},
    {"protocol", Kind::text},       {"query_prepared", Kind::text},
    {"options", Kind::text},        {"custom_data", Kind::text},
    {"ext_data", Kind::text},       {"create_time", Kind::time},
    {"next_cron_time", Kind::time}, {"rollback_reason", Kind::text},
    {"result", Kind::text},
};
constexpr Column branch_columns[] = {
    {"id", Kind::number},      {"gid", Kind::text},         {"branch_id", Kind::text},
    {"op", Kind::text},        {"url", Kind::text},         {"status", Kind::text},
    {"bin_data", Kind::bytes}, {"create_time", Kind::time}, {"finish_time", Kind::time},
};
constexpr Column kv_columns[] = {
    {"id", Kind::number},        {"cat", Kind::text},       {"k", Kind::text},
    {"v", Kind::text},           {"version", Kind::number}, {"create_time", Kind::time},
    {"update_time", Kind::time},
};
constexpr Table tables[] = {
    {"trans_global", trans_columns},
    {"trans_branch_op", branch_columns},
    {"kv", kv_columns},
};

constexpr const char* whose =
    "Name the schema of dtm's tables: Store.Schema in dtm's configuration, else public.";

std::string in_quotes(const std::string& text) { return "\"" + text + "\""; }

std::string qualified(const std::string& schema, const char* table) {
    const char* name = schema.c_str();
    return pg::call([&] { return quote_qualified_identifier(name, table); });
}

Oid schema_oid(const std::string& schema) {
    const char* name = schema.c_str();
    const Oid oid = pg::call([name] { return get_namespace_oid(name, true); });
    if (!OidIsValid(oid)) {
        throw pg::SqlError("3F000", "there is no schema " + in_quotes(schema), {}, whose);
    }
    return oid;
}

Oid table_oid(const std::string& schema, const Table& table) {
    const Oid in = schema_oid(schema);
    const Oid oid = pg::call([&] { return get_relname_relid(table.name, in); });
    if (!OidIsValid(oid)) {
        throw pg::SqlError(
            "42P01",
            "there is no table " + in_quotes(table.name) + " in schema " + in_quotes(schema),
            "It is one of the three that dtm keeps its transactions in.", whose);
    }
    return oid;
}

void check_kind(const std::string& schema, const Table& table) {
    const Oid oid = table_oid(schema, table);
    if (pg::call([oid] { return get_rel_relkind(oid); }) == RELKIND_RELATION) return;
    throw pg::SqlError("42809", in_quotes(table.name) + " is not an ordinary table",
                       "It is a view, a foreign table or partitioned.", whose);
}

bool fits(Kind kind, Oid type) {
    switch (kind) {
        case Kind::text:
            return type == TEXTOID || type == VARCHAROID;
        case Kind::bytes:
            return type == BYTEAOID;
        case Kind::time:
            return type == TIMESTAMPTZOID;
        case Kind::number:
            return type == INT8OID || type == INT4OID;
    }
    return false;
}

void check_columns(Relation relation, const Table& table) {
    TupleDesc have = RelationGetDescr(relation);
    constexpr const char* hint =
        "This function reads the tables that dtm 1.19 makes. Upgrade dtm's tables first, or let "
        "dtm "
        "finish what it has.";
    for (const Column& column : table.columns) {
        const FormData_pg_attribute* found = nullptr;
        for (int i = 0; i < have->natts && found == nullptr; ++i) {
            const FormData_pg_attribute* a = TupleDescAttr(have, i);
            if (!a->attisdropped && std::string_view(column.name) == NameStr(a->attname)) found = a;
        }
        if (found == nullptr) {
            throw pg::SqlError(
                "42703",
                "table " + in_quotes(table.name) + " has no column " + in_quotes(column.name), {},
                hint);
        }
        if (!fits(column.kind, found->atttypid)) {
            throw pg::SqlError("42804",
                               "column " + in_quotes(column.name) + " of table " +
                                   in_quotes(table.name) + " is not of the type that dtm gave it",
                               {}, hint);
        }
    }
}

// Within the lock: what a table is does not change any more.
void check_shape(const std::string& schema, const Table& table) {
    check_kind(schema, table);
    const Oid oid = table_oid(schema, table);
    const Relation relation = pg::call([oid] { return relation_open(oid, NoLock); });
    if (relation->rd_rel->relhassubclass) {
        throw pg::SqlError("42809", "table " + in_quotes(table.name) + " has child tables",
                           "Their rows would stay where they are.",
                           "dtm's tables have none. Detach them, if these are dtm's tables.");
    }
    check_columns(relation, table);
    // As the caller, who may be a superuser: rows of a hostile schema must run nothing.
    if (!is_plain(relation)) {
        throw pg::SqlError(
            "42809", "table " + in_quotes(table.name) + " runs code when it is read or written",
            "It has a trigger, a rule, a policy, a check, a column of a type of its own, or a "
            "default or index with a function that does not come with PostgreSQL.",
            "dtm's tables have none of these. Drop what was added, if these are dtm's tables.");
    }
    pg::call([relation] { relation_close(relation, NoLock); });
}

// Readers and autovacuum go on or step aside; a dtm server that is at work does not.
void lock(const std::string& names, const std::string& schema) {
    // Long enough for autovacuum to be cancelled, and for the end of a statement.
    std::optional<pg::LockTimeout> patience;
    if (LockTimeout == 0) patience.emplace(std::chrono::seconds(5));
    try {
        const pg::Spi spi;
        pg::execute("LOCK TABLE " + names + " IN SHARE ROW EXCLUSIVE MODE");
    } catch (const pg::PgError& error) {
        if (error.sqlstate() == ERRCODE_INSUFFICIENT_PRIVILEGE) {
            const char* name = schema.c_str();
            const std::string quoted = pg::call([name] { return quote_identifier(name); });
            throw pg::SqlError("42501", error.what(),
                               "dtm's tables are read and emptied with the caller's rights.",
                               "GRANT USAGE ON SCHEMA " + quoted + ", and SELECT and DELETE on " +
                                   names + ", to the role that imports.");
        }
        if (error.sqlstate() != ERRCODE_LOCK_NOT_AVAILABLE) throw;
        throw pg::SqlError(
            "55P03", "dtm's tables in schema " + in_quotes(schema) + " are in use",
            "Another session has written to them and not ended its transaction, or holds a lock.",
            "Stop every dtm server that uses them, then try again; pg_locks and pg_stat_activity "
            "show who it is.");
    }
}

// Times that no clock has shown would overflow where they are added to; they are as good as none.
std::string sane_time(const char* column) {
    const std::string c = column;
    return "CASE WHEN " + c +
           " BETWEEN '1970-01-01 00:00:00+00' AND '9999-01-01 00:00:00+00'"
           " THEN " +
           c + " END";
}

constexpr const char* is_unfinished = " status::text <> ALL ('{succeed,failed}'::text[])";

pg::Args names_arg(std::span<const std::string> names) {
    const std::vector<std::string_view> views(names.begin(), names.end());
    pg::Args args;
    args.texts(views);
    return args;
}

DtmRow read_row(const pg::Rows& rows, std::size_t i) {
    DtmRow row;
    wire::DtmTrans& t = row.trans;
    t.gid = rows.text(i, 1);
    t.trans_type = rows.text(i, 2);
    t.status = rows.text(i, 3);
    t.protocol = rows.text(i, 4);
    t.query_prepared = rows.text(i, 5);
    t.options = rows.text(i, 6);
    t.custom_data = rows.text(i, 7);
    t.ext_data = rows.text(i, 8);
    t.create_time = rows.opt_time(i, 9);
    t.next_cron_time = rows.opt_time(i, 10);
    row.rollback_reason = rows.text(i, 11);
    row.result = rows.text(i, 12);
    return row;
}

wire::DtmBranch read_branch(const pg::Rows& rows, std::size_t i) {
    wire::DtmBranch branch;
    branch.branch_id = rows.text(i, 2);
    branch.op = rows.text(i, 3);
    branch.url = rows.text(i, 4);
    branch.status = rows.text(i, 5);
    branch.data = rows.text(i, 6);  // bytea is a varlena, too
    branch.create_time = rows.opt_time(i, 7);
    branch.finish_time = rows.opt_time(i, 8);
    return branch;
}

}  // namespace

DtmTables::DtmTables(const std::string& schema)
    : trans_(qualified(schema, tables[0].name)),
      branches_(qualified(schema, tables[1].name)),
      kv_(qualified(schema, tables[2].name)) {
    for (const Table& table : tables) check_kind(schema, table);  // or the lock goes to others
    lock(trans_ + ", " + branches_ + ", " + kv_, schema);
    for (const Table& table : tables) check_shape(schema, table);
}

std::vector<std::string> DtmTables::unfinished() const {
    const pg::Spi spi;
    const pg::Rows rows = pg::execute("SELECT gid::text FROM ONLY " + trans_ + " WHERE" +
                                      is_unfinished + " GROUP BY gid ORDER BY min(id)");
    std::vector<std::string> gids;
    gids.reserve(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) gids.emplace_back(rows.text(i, 1));
    return gids;
}

std::vector<DtmRow> DtmTables::read(std::span<const std::string> gids) const {
    const pg::Spi spi;
    pg::Args args = names_arg(gids);
    const pg::Rows rows = pg::execute(
        "SELECT gid::text, trans_type::text, status::text, protocol::text, query_prepared::text,"
        " options::text, custom_data::text, ext_data::text, " +
            sane_time("create_time") + ", " + sane_time("next_cron_time") +
            ", rollback_reason::text, result::text FROM ONLY " + trans_ +
            " WHERE gid::text = ANY ($1) AND" + is_unfinished + " ORDER BY id",
        {TEXTARRAYOID}, args);
    std::vector<DtmRow> all;
    all.reserve(rows.size());
    std::unordered_map<std::string, std::size_t> places;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        all.push_back(read_row(rows, i));
        places.emplace(all.back().trans.gid, i);
    }
    pg::Args branch_args = names_arg(gids);
    const pg::Rows ops = pg::execute(
        "SELECT gid::text, branch_id::text, op::text, url::text, status::text, bin_data, " +
            sane_time("create_time") + ", " + sane_time("finish_time") + " FROM ONLY " + branches_ +
            " WHERE gid::text = ANY ($1) ORDER BY id",
        {TEXTARRAYOID}, branch_args);
    for (std::size_t i = 0; i < ops.size(); ++i) {
        const auto place = places.find(std::string(ops.text(i, 1)));
        if (place != places.end()) all[place->second].branches.push_back(read_branch(ops, i));
    }
    return all;
}

void DtmTables::remove(std::span<const std::string> gids) const {
    const pg::Spi spi;
    for (const std::string& table : {branches_, trans_}) {
        pg::Args args = names_arg(gids);
        (void)pg::execute("DELETE FROM ONLY " + table + " WHERE gid::text = ANY ($1)",
                          {TEXTARRAYOID}, args);
    }
}

std::vector<DtmTopic> DtmTables::topics() const {
    const pg::Spi spi;
    const pg::Rows rows = pg::execute(
        "SELECT k::text, v::text, coalesce(version, 1)::int8, " + sane_time("create_time") + ", " +
        sane_time("update_time") + " FROM ONLY " + kv_ + " WHERE cat::text = 'topics' ORDER BY id");
    std::vector<DtmTopic> all;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        all.push_back({std::string(rows.text(i, 1)), std::string(rows.text(i, 2)), rows.int8(i, 3),
                       rows.opt_time(i, 4), rows.opt_time(i, 5)});
    }
    return all;
}

void DtmTables::remove_topic(const std::string& name) const {
    const pg::Spi spi;
    pg::Args args;
    args.text(name);
    (void)pg::execute("DELETE FROM ONLY " + kv_ + " WHERE cat::text = 'topics' AND k::text = $1",
                      {TEXTOID}, args);
}

}  // namespace dtm::store
