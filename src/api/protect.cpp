// dtm_protect and dtm_unprotect: put the barrier's triggers on a table, as the caller, who must own
// it.
#include "api/result.hpp"
#include "pg/session.hpp"

extern "C" {
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
}

namespace dtm::api {
namespace {

// Triggers fire in the order of their names: ours comes first, so that others do nothing for rows
// that are skipped.
constexpr const char* row_trigger = "00_dtm_barrier";
constexpr const char* truncate_trigger = "00_dtm_barrier_truncate";

struct Table {
    Oid oid = InvalidOid;
    std::string name;       // without schema
    std::string qualified;  // quoted
};

const char* why_not(char kind) {
    switch (kind) {
        case RELKIND_RELATION:
        case RELKIND_PARTITIONED_TABLE:
            return nullptr;
        case RELKIND_VIEW:
            return "It is a view.";
        case RELKIND_MATVIEW:
            return "It is a materialized view.";
        case RELKIND_FOREIGN_TABLE:
            return "It is a foreign table: its rows do not commit with the barrier's.";
        default:
            return "It is not a table.";
    }
}

Table table_arg(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(0)) throw pg::SqlError("TD001", "the table is NULL", "Field: table_name");
    Table table;
    table.oid = PG_GETARG_OID(0);
    const Oid oid = table.oid;
    const char* name = pg::call([oid] { return get_rel_name(oid); });
    if (name == nullptr) {
        throw pg::SqlError("42P01", "there is no table with OID " + std::to_string(oid),
                           "Field: table_name");
    }
    table.name = name;
    const char* schema = pg::call([oid] { return get_namespace_name(get_rel_namespace(oid)); });
    table.qualified = pg::call([&] { return quote_qualified_identifier(schema, name); });
    return table;
}

// CREATE TRIGGER is content with the TRIGGER privilege; who may decide what is written owns the
// table.
void check_owner(const Table& table) {
    const Oid oid = table.oid;
    const char* name = table.name.c_str();
    pg::call([&] {
#if PG_VERSION_NUM >= 160000
        const bool owner = object_ownercheck(RelationRelationId, oid, GetUserId());
#else
        const bool owner = pg_class_ownercheck(oid, GetUserId());
#endif
        if (!owner) {
            aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(oid)), name);
        }
    });
}

void check_kind(const Table& table) {
    const Oid oid = table.oid;
    const char kind = pg::call([oid] { return get_rel_relkind(oid); });
    const char* schema = pg::call([oid] { return get_namespace_name(get_rel_namespace(oid)); });
    const std::string in = schema == nullptr ? "" : schema;
    const char* why = why_not(kind);
    if (IsCatalogRelationOid(oid)) why = "It is a system table.";
    if (in == "dtm" || in == "dtm_barrier") why = "It is a table of dtm_pg itself.";
    if (why != nullptr) {
        throw pg::SqlError("42809", in_quotes(table.name) + " cannot be protected", why,
                           "Protect the ordinary tables that the branch writes.");
    }
}

bool has_trigger(const Table& table, const char* name) {
    const Oid oid = table.oid;
    return OidIsValid(pg::call([&] { return get_trigger_oid(oid, name, true); }));
}

std::optional<std::string> first_text(const char* sql, Oid table) {
    Oid types[] = {OIDOID};
    Datum values[] = {ObjectIdGetDatum(table)};
    const int code =
        pg::call([&] { return SPI_execute_with_args(sql, 1, types, values, nullptr, true, 1); });
    if (code != SPI_OK_SELECT)
        throw std::runtime_error("unexpected result of: " + std::string(sql));
    const pg::Rows rows(SPI_tuptable, SPI_processed);
    return rows.size() == 0 ? std::nullopt : std::optional(std::string(rows.text(0, 1)));
}

// Triggers of a partitioned table are those of its partitions.
void refuse_as_partition(const Table& table) {
    const auto parent = first_text(
        "SELECT p.relname::text FROM pg_trigger t, pg_partition_ancestors($1::oid::regclass) a"
        " JOIN pg_trigger above ON above.tgrelid = a.relid AND above.tgname = '00_dtm_barrier'"
        " AND above.tgparentid = 0 JOIN pg_class p ON p.oid = a.relid"
        " WHERE t.tgrelid = $1 AND t.tgname = '00_dtm_barrier' AND t.tgparentid <> 0",
        table.oid);
    if (!parent) return;
    throw pg::SqlError("42809", in_quotes(table.name) + " is protected as a partition",
                       "Its triggers belong to " + in_quotes(*parent) + ".",
                       "Call it for " + in_quotes(*parent) + ".");
}

void check_family(const Table& table) {
    if (first_text("SELECT 'child' FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
                   " WHERE i.inhparent = $1 AND NOT c.relispartition",
                   table.oid)) {
        throw pg::SqlError("42809", in_quotes(table.name) + " cannot be protected",
                           "It has child tables, whose rows would be written unguarded.",
                           "Protect the ordinary tables that the branch writes.");
    }
    const auto partition = first_text(
        "SELECT t.tgrelid::regclass::text FROM pg_partition_tree($1::oid::regclass) p"
        " JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgname = '00_dtm_barrier'"
        " AND t.tgparentid = 0 WHERE p.relid <> $1",
        table.oid);
    if (!partition) return;
    throw pg::SqlError("42809", in_quotes(table.name) + " cannot be protected",
                       "Its partition " + in_quotes(*partition) + " is protected by itself.",
                       "Call dtm_unprotect('" + *partition + "') first.");
}

bool drop_triggers(const Table& table) {
    bool any = false;
    for (const char* name : {row_trigger, truncate_trigger}) {
        if (!has_trigger(table, name)) continue;
        pg::execute(std::string("DROP TRIGGER \"") + name + "\" ON " + table.qualified);
        any = true;
    }
    return any;
}

void protect(const Table& table, const char* rule) {
    refuse_as_partition(table);
    check_family(table);
    drop_triggers(table);
    const std::string tail = std::string(" EXECUTE FUNCTION dtm.barrier_trigger('") + rule + "')";
    pg::execute(std::string("CREATE TRIGGER \"") + row_trigger +
                "\" BEFORE INSERT OR UPDATE OR DELETE ON " + table.qualified + " FOR EACH ROW" +
                tail);
    pg::execute(std::string("CREATE TRIGGER \"") + truncate_trigger + "\" BEFORE TRUNCATE ON " +
                table.qualified + " FOR EACH STATEMENT" + tail);
}

}  // namespace
}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_protect) {
    const api::Table table = api::table_arg(fcinfo);
    api::check_kind(table);
    api::check_owner(table);
    const char* rule = PG_ARGISNULL(1) ? "setting" : PG_GETARG_BOOL(1) ? "required" : "optional";
    const pg::Spi spi;
    const pg::SafeSearchPath path;
    api::protect(table, rule);
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_unprotect) {
    const api::Table table = api::table_arg(fcinfo);
    const pg::Spi spi;
    const pg::SafeSearchPath path;
    api::refuse_as_partition(table);
    if (!api::drop_triggers(table)) {
        throw pg::SqlError("TD004", "table " + api::in_quotes(table.name) + " is not protected",
                           "It has no trigger of dtm_protect().");
    }
    PG_RETURN_VOID();
}
