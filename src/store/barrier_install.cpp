// See barrier_install.hpp.
#include "store/barrier_install.hpp"

#include "store/barrier.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
}

namespace dtm::store {

bool schema_exists(const char* name) {
    return OidIsValid(pg::call([name] { return get_namespace_oid(name, true); }));
}

std::optional<std::string> barrier_shape_fault() {
    // One row per fault, the most telling first.
    const pg::Rows faults = pg::execute(R"(
WITH barrier AS (
  SELECT 'dtm_barrier.barrier'::regclass::oid AS oid
), wanted(name, kind, types) AS (
  VALUES ('id', 'an integer', '{int4,int8}'::name[])
       , ('trans_type', 'a text', '{varchar,text}')
       , ('gid', 'a text', '{varchar,text}')
       , ('branch_id', 'a text', '{varchar,text}')
       , ('op', 'a text', '{varchar,text}')
       , ('barrier_id', 'a text', '{varchar,text}')
       , ('reason', 'a text', '{varchar,text}')
       , ('create_time', 'a time', '{timestamptz,timestamp}')
), found AS (
  SELECT a.attname, t.typname, a.attnum, a.attnotnull, a.atthasdef OR a.attidentity <> '' AS filled,
         format_type(a.atttypid, a.atttypmod) AS type
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid, barrier
   WHERE a.attrelid = barrier.oid AND a.attnum > 0 AND NOT a.attisdropped
), keys AS (
  SELECT ARRAY(SELECT f.attname FROM found f WHERE f.attnum = ANY (i.indkey::int2[])
               ORDER BY f.attname COLLATE "C")::text AS columns
    FROM pg_index i, barrier
   WHERE i.indrelid = barrier.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
     AND i.indpred IS NULL AND i.indexprs IS NULL
)
SELECT 'It is not an ordinary table.' FROM pg_class c, barrier
 WHERE c.oid = barrier.oid AND (c.relkind <> 'r' OR c.relpersistence <> 'p')
UNION ALL
SELECT 'It has child tables, or is one.' FROM pg_inherits i, barrier
 WHERE barrier.oid IN (i.inhparent, i.inhrelid)
UNION ALL
SELECT format('It has no column %s.', w.name) FROM wanted w
 WHERE NOT EXISTS (SELECT FROM found f WHERE f.attname = w.name)
UNION ALL
SELECT format('Column %s is %s, not %s.', w.name, f.type, w.kind)
  FROM wanted w JOIN found f ON f.attname = w.name WHERE f.typname <> ALL (w.types)
UNION ALL
SELECT format('Column %s must be given a value: it is NOT NULL without a default.', f.attname)
  FROM found f WHERE f.attnotnull AND NOT f.filled
   AND f.attname NOT IN ('id', 'trans_type', 'gid', 'branch_id', 'op', 'barrier_id', 'reason')
UNION ALL
SELECT 'Column id has no default.' FROM found f WHERE f.attname = 'id' AND NOT f.filled
UNION ALL
SELECT 'It has no unique key (gid, branch_id, op, barrier_id).'
 WHERE '{barrier_id,branch_id,gid,op}' NOT IN (SELECT columns FROM keys)
UNION ALL
SELECT 'It has no unique key (id).' WHERE '{id}' NOT IN (SELECT columns FROM keys)
LIMIT 1)");
    return faults.size() == 0 ? std::nullopt : std::optional(std::string(faults.text(0, 1)));
}

// Takes back what default privileges gave: who has TRIGGER on the table acts as its owner.
void close_to_others(const char* what, const char* catalog_row) {
    const pg::Rows grantees = pg::execute(
        std::string("SELECT DISTINCT coalesce(quote_ident(r.rolname), 'PUBLIC')"
                    " FROM (SELECT ") +
        catalog_row +
        ") o (owner, acl)"
        // PUBLIC in any case: that writes the privileges down as those of the extension.
        " CROSS JOIN LATERAL (VALUES (0::oid) UNION SELECT grantee FROM aclexplode(acl)) a (id)"
        " LEFT JOIN pg_roles r ON r.oid = a.id WHERE a.id <> o.owner");
    for (std::size_t i = 0; i < grantees.size(); ++i) {
        pg::execute(std::string("REVOKE ALL ON ")
                        .append(what)
                        .append(" FROM ")
                        .append(grantees.text(i, 1))
                        .append(" CASCADE"));
    }
}

void create_barrier_table() {
    if (!schema_exists("dtm_barrier")) {
        pg::execute("CREATE SCHEMA dtm_barrier");
        pg::execute(
            "COMMENT ON SCHEMA dtm_barrier IS"
            " 'The barrier of dtm''s clients and of dtm_pg.'");
        close_to_others("SCHEMA dtm_barrier",
                        "nspowner, nspacl FROM pg_namespace WHERE nspname = 'dtm_barrier'");
    }
    // DROP TABLE leaves it behind.
    pg::execute("CREATE SEQUENCE IF NOT EXISTS dtm_barrier.barrier_seq");
    pg::execute("COMMENT ON SEQUENCE dtm_barrier.barrier_seq IS 'Ids of dtm_barrier.barrier.'");
    pg::execute(
        "CREATE TABLE dtm_barrier.barrier ("
        " id bigint NOT NULL DEFAULT pg_catalog.nextval('dtm_barrier.barrier_seq') PRIMARY KEY,"
        " trans_type varchar(45) DEFAULT '',"
        " gid varchar(128) DEFAULT '',"
        " branch_id varchar(128) DEFAULT '',"
        " op varchar(45) DEFAULT '',"
        " barrier_id varchar(45) DEFAULT '',"
        " reason varchar(45) DEFAULT '',"
        " create_time timestamp(0) with time zone DEFAULT pg_catalog.now(),"
        " update_time timestamp(0) with time zone DEFAULT pg_catalog.now(),"
        " CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id))");
    pg::execute(
        "COMMENT ON TABLE dtm_barrier.barrier IS"
        " 'Which branch operations have run here, or must not any more (P3). The form is that of"
        " dtm''s clients, whose services may use it, too.'");
    pg::execute(
        "COMMENT ON COLUMN dtm_barrier.barrier.id IS 'In the order of time, for housekeeping.'");
    pg::execute(
        "COMMENT ON COLUMN dtm_barrier.barrier.trans_type IS 'msg, saga, tcc, xa or workflow.'");
    pg::execute("COMMENT ON COLUMN dtm_barrier.barrier.gid IS 'Global transaction.'");
    pg::execute("COMMENT ON COLUMN dtm_barrier.barrier.branch_id IS 'Branch of it.'");
    pg::execute(
        "COMMENT ON COLUMN dtm_barrier.barrier.op IS 'Operation whose place this row holds.'");
    pg::execute(
        "COMMENT ON COLUMN dtm_barrier.barrier.barrier_id IS"
        " 'Number of the call within its transaction, from 01.'");
    pg::execute(
        "COMMENT ON COLUMN dtm_barrier.barrier.reason IS"
        " 'Operation that wrote this row: its own, or the one that came first and undid it.'");
    pg::execute(
        "COMMENT ON COLUMN dtm_barrier.barrier.create_time IS"
        " 'When; after dtm.barrier_retention the row is removed.'");
    pg::execute("COMMENT ON COLUMN dtm_barrier.barrier.update_time IS 'Not used.'");
    close_to_others("SEQUENCE dtm_barrier.barrier_seq",
                    "relowner, relacl FROM pg_class"
                    " WHERE oid = 'dtm_barrier.barrier_seq'::regclass");
    close_to_others("TABLE dtm_barrier.barrier",
                    "relowner, relacl FROM pg_class WHERE oid = 'dtm_barrier.barrier'::regclass");
}

void depend_on_schema() {
    pg::call([] {
        const Oid extension =
            creating_extension ? CurrentExtensionObject : get_extension_oid("dtm_pg", true);
        const Oid schema = get_namespace_oid("dtm_barrier", true);
        if (!OidIsValid(extension) || !OidIsValid(schema)) return;
        if (getExtensionOfObject(NamespaceRelationId, schema) == extension) return;
        (void)deleteDependencyRecordsForSpecific(ExtensionRelationId, extension, DEPENDENCY_NORMAL,
                                                 NamespaceRelationId, schema);
        ObjectAddress from, to;
        ObjectAddressSet(from, ExtensionRelationId, extension);
        ObjectAddressSet(to, NamespaceRelationId, schema);
        recordDependencyOn(&from, &to, DEPENDENCY_NORMAL);
    });
}

void adopt_barrier_table() {
    depend_on_schema();
    // DEFAULT NULL, as dtm's own script says, is a default to the catalog.
    const bool has_default =
        pg::execute(
            "SELECT FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid"
            " AND d.adnum = a.attnum WHERE a.attrelid = 'dtm_barrier.barrier'::regclass"
            " AND a.attname = 'create_time'"
            " AND pg_get_expr(d.adbin, d.adrelid) !~* '^[(]*null'")
            .processed() != 0;
    if (!has_default) {
        pg::execute(
            "ALTER TABLE dtm_barrier.barrier ALTER create_time SET DEFAULT pg_catalog.now()");
    }
    std::int64_t last_id = 0;
    {
        const BarrierTable table;
        const AsBarrierOwner owner(table);
        last_id = pg::execute(
                      "SELECT coalesce(pg_catalog.max(id), 0)::pg_catalog.int8"
                      " FROM ONLY dtm_barrier.barrier")
                      .int8(0, 1);
    }
    pg::execute("INSERT INTO dtm.kv (cat, k, v) VALUES ('barrier', 'adopted', '" +
                std::to_string(last_id) + "') ON CONFLICT (cat, k) DO NOTHING");
}

bool barrier_table_is_known() {
    return pg::execute(
               "SELECT FROM dtm.kv WHERE cat = 'barrier' AND k = 'adopted'"
               " UNION ALL SELECT FROM pg_catalog.pg_depend d"
               " JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid"
               " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
               " AND d.objid = 'dtm_barrier.barrier'::pg_catalog.regclass AND d.deptype = 'e'"
               " AND e.extname = 'dtm_pg'")
               .processed() != 0;
}

}  // namespace dtm::store
