// See rights.hpp. Simple views can be written like their table, so they count, too; and whoever
// may become a role that writes all tables.
#include "store/rights.hpp"

#include "pg/session.hpp"

namespace dtm::store {

namespace {

std::vector<std::string> lines(const char* sql) {
    const pg::SafeSearchPath path;
    const pg::Rows rows = pg::execute(sql);
    std::vector<std::string> found;
    for (std::size_t i = 0; i < rows.size(); ++i) found.emplace_back(rows.text(i, 1));
    return found;
}

}  // namespace

std::vector<std::string> rights_of_others() {
    // Services with a client of dtm write the barrier's table themselves; they need no trigger.
    return lines(R"(
WITH object AS (
  SELECT c.oid::regclass::text AS name, c.relowner AS owner, c.relacl AS acl,
         '{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[] AS dangerous
    FROM pg_class c WHERE c.relnamespace = to_regnamespace('dtm')
  UNION ALL
  SELECT c.oid::regclass::text, c.relowner, a.attacl, '{INSERT,UPDATE,REFERENCES}'
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
   WHERE c.relnamespace = to_regnamespace('dtm') AND a.attacl IS NOT NULL
  UNION ALL
  SELECT 'dtm_barrier.barrier', c.relowner, c.relacl, '{REFERENCES,TRIGGER}'
    FROM pg_class c WHERE c.oid = to_regclass('dtm_barrier.barrier')
  UNION ALL
  SELECT 'schema dtm', n.nspowner, n.nspacl, '{CREATE}'
    FROM pg_namespace n WHERE n.nspname = 'dtm'
)
SELECT format('%s: %s on %s', coalesce(r.rolname, 'PUBLIC'),
              string_agg(DISTINCT a.privilege_type, ', '), o.name)
  FROM object o CROSS JOIN LATERAL aclexplode(o.acl) a
  LEFT JOIN pg_roles r ON r.oid = a.grantee
 WHERE a.grantee <> o.owner AND a.privilege_type = ANY (o.dangerous)
 GROUP BY r.rolname, o.name
 UNION ALL
SELECT format('%s: member of %s', r.rolname, w.rolname)
  FROM pg_roles w JOIN pg_roles r ON pg_has_role(r.oid, w.oid, 'MEMBER')
 WHERE w.rolname = 'pg_write_all_data' AND r.oid <> w.oid AND NOT r.rolsuper
   AND r.oid <> (SELECT relowner FROM pg_class WHERE oid = to_regclass('dtm.trans'))
 ORDER BY 1)");
}

std::vector<std::string> functions_of_everybody() {
    return lines(R"(
SELECT p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
 CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 WHERE e.extname = 'dtm_pg' AND d.deptype = 'e' AND a.grantee = 0
   AND a.privilege_type = 'EXECUTE'
 ORDER BY 1)");
}

std::vector<std::string> code_on_tables() {
    return lines(R"(
SELECT code || ' of ' || relation::regclass
  FROM (SELECT 'trigger ' || quote_ident(tgname), tgrelid FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL
        SELECT 'rule ' || quote_ident(rulename), ev_class FROM pg_rewrite
         WHERE rulename <> '_RETURN'
        UNION ALL
        SELECT 'foreign key ' || quote_ident(conname) || ' of ' || conrelid::regclass || ' to rows',
               confrelid
          FROM pg_constraint WHERE contype = 'f') c (code, relation)
  JOIN pg_class r ON r.oid = c.relation
 WHERE r.relnamespace = to_regnamespace('dtm') ORDER BY 1)");
}

std::vector<std::string> missing_owners() {
    return lines(R"(
SELECT format('%s (%s %s)', t.owner::oid, count(*),
              CASE count(*) WHEN 1 THEN 'transaction' ELSE 'transactions' END)
  FROM dtm.trans t WHERE t.next_cron_time IS NOT NULL OR t.attention IS NOT NULL
 GROUP BY t.owner HAVING NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = t.owner)
 ORDER BY t.owner)");
}

}  // namespace dtm::store
