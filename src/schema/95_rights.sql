-- The last word about rights, of the install script and of upgrades. ALTER DEFAULT PRIVILEGES may
-- have given rights to whoever it names; who writes a table of dtm's, or gives it a trigger, acts
-- as its owner, a superuser. So rights that came with an object are taken back from all but its
-- owner. pg_init_privs knows them, because this script names every object in a REVOKE; what
-- dtm_grant() gave later is not in it, and stays.

DO $do$
DECLARE
  entry record;
  grantees pg_catalog.text[] := '{}';
BEGIN
  FOR entry IN
    WITH member AS (
      SELECT d.classid, d.objid
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
       WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
         AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'dtm_pg'
    ), object AS (
      SELECT m.classid, m.objid, 'SCHEMA ' OPERATOR(pg_catalog.||) n.oid::pg_catalog.regnamespace
               AS name, n.nspowner AS owner, n.nspacl AS acl
        FROM member m JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) m.objid
       WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
      UNION ALL
      SELECT m.classid, m.objid, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END
               OPERATOR(pg_catalog.||) c.oid::pg_catalog.regclass, c.relowner, c.relacl
        FROM member m JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) m.objid
       WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
      UNION ALL
      SELECT m.classid, m.objid, 'FUNCTION ' OPERATOR(pg_catalog.||)
               p.oid::pg_catalog.regprocedure, p.proowner, p.proacl
        FROM member m JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) m.objid
       WHERE m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
    )
    SELECT DISTINCT o.name, COALESCE(pg_catalog.quote_ident(r.rolname), 'PUBLIC') AS grantee
      FROM object o
      JOIN pg_catalog.pg_init_privs i
        ON i.classoid OPERATOR(pg_catalog.=) o.classid
       AND i.objoid OPERATOR(pg_catalog.=) o.objid AND i.objsubid OPERATOR(pg_catalog.=) 0
     CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
      LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE a.grantee OPERATOR(pg_catalog.<>) o.owner
       AND EXISTS (SELECT FROM pg_catalog.aclexplode(i.initprivs) f
                    WHERE f.grantee OPERATOR(pg_catalog.=) a.grantee
                      AND f.grantee OPERATOR(pg_catalog.<>) f.grantor)
     ORDER BY grantee, name
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %s CASCADE', entry.name, entry.grantee);
    IF entry.grantee OPERATOR(pg_catalog.<>) ALL (grantees) THEN
      grantees := grantees OPERATOR(pg_catalog.||) entry.grantee;
    END IF;
  END LOOP;
  -- A REVOKE in a script writes all that is left down as initial, what dtm_grant() gave, too; dumps
  -- would leave that out.
  UPDATE pg_catalog.pg_init_privs i
     SET initprivs = ARRAY(SELECT p.item FROM pg_catalog.unnest(i.initprivs) p(item)
                            WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(ARRAY[p.item]) a
                                           WHERE a.grantee OPERATOR(pg_catalog.=) a.grantor))
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
   WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
     AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'dtm_pg'
     AND i.classoid OPERATOR(pg_catalog.=) d.classid AND i.objoid OPERATOR(pg_catalog.=) d.objid
     AND EXISTS (SELECT FROM pg_catalog.aclexplode(i.initprivs) a
                  WHERE a.grantee OPERATOR(pg_catalog.<>) a.grantor);
  -- PostgreSQL 17 also keeps who is named there, and such a role could never be dropped.
  DELETE FROM pg_catalog.pg_shdepend s
   USING pg_catalog.pg_depend d, pg_catalog.pg_extension e, pg_catalog.pg_database b
   WHERE s.deptype OPERATOR(pg_catalog.=) 'i'
     AND s.classid OPERATOR(pg_catalog.=) d.classid AND s.objid OPERATOR(pg_catalog.=) d.objid
     AND s.dbid OPERATOR(pg_catalog.=) b.oid
     AND b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
     AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
     AND d.refobjid OPERATOR(pg_catalog.=) e.oid
     AND d.deptype OPERATOR(pg_catalog.=) 'e' AND e.extname OPERATOR(pg_catalog.=) 'dtm_pg';
  IF grantees OPERATOR(pg_catalog.<>) '{}' THEN
    RAISE WARNING 'default privileges do not apply to dtm_pg: taken back from %',
        pg_catalog.array_to_string(grantees, ', ')
      USING HINT = 'dtm_grant() gives a role the rights of a level.';
  END IF;
END
$do$;
