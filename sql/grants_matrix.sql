-- Who may do what: read from the catalog, for everything that belongs to the extension.
CREATE ROLE regress_dtm_nobody;
CREATE ROLE regress_dtm_submit;
CREATE ROLE regress_dtm_observe;
CREATE ROLE regress_dtm_admin;
CREATE ROLE regress_dtm_barrier;
SELECT dtm_grant('regress_dtm_submit', 'submit');
SELECT dtm_grant('regress_dtm_observe', 'observe');
SELECT dtm_grant('regress_dtm_admin', 'admin');
SELECT dtm_grant('regress_dtm_barrier', 'barrier');

CREATE VIEW matrix AS
WITH object AS (
  SELECT classid, objid, pg_describe_object(classid, objid, 0) AS object
    FROM pg_depend
   WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
     AND classid <> 'pg_type'::regclass  -- row types: members since PostgreSQL 17
     AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dtm_pg')),
has AS (
  SELECT object, rolname,
         CASE classid
           WHEN 'pg_proc'::regclass THEN
             CASE WHEN has_function_privilege(rolname, objid, 'EXECUTE') THEN 'execute' END
           WHEN 'pg_namespace'::regclass THEN
             concat_ws(' ', CASE WHEN has_schema_privilege(rolname, objid, 'USAGE') THEN 'usage'
               END,
                            CASE WHEN has_schema_privilege(rolname, objid, 'CREATE') THEN 'create'
                              END)
           WHEN 'pg_class'::regclass THEN
             concat_ws(' ', CASE WHEN has_table_privilege(rolname, objid, 'SELECT') THEN 'select'
               END,
                            CASE WHEN has_table_privilege(rolname, objid,
                                   'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') THEN
                                     'more' END)
           ELSE '?'
         END AS privilege
    FROM object, pg_roles
   WHERE rolname LIKE 'regress\_dtm\_%')
SELECT object,
       max(privilege) FILTER (WHERE rolname = 'regress_dtm_nobody') AS nobody,
       max(privilege) FILTER (WHERE rolname = 'regress_dtm_submit') AS submit,
       max(privilege) FILTER (WHERE rolname = 'regress_dtm_observe') AS observe,
       max(privilege) FILTER (WHERE rolname = 'regress_dtm_admin') AS admin,
       max(privilege) FILTER (WHERE rolname = 'regress_dtm_barrier') AS barrier
  FROM has GROUP BY object;
SELECT * FROM matrix ORDER BY object COLLATE "C";

-- What is granted is taken back, all of it.
SELECT dtm_revoke('regress_dtm_submit'), dtm_revoke('regress_dtm_observe'),
  dtm_revoke('regress_dtm_admin'), dtm_revoke('regress_dtm_barrier');
SELECT count(*) FROM matrix WHERE concat(nobody, submit, observe, admin, barrier) <> '';

SELECT * FROM refused($$SELECT dtm_grant('regress_dtm_submit', 'root')$$);
SELECT * FROM refused($$SELECT dtm_grant('regress_dtm_unknown', 'submit')$$);
-- Nothing runs with the rights of somebody else.
SELECT count(*) FROM pg_proc WHERE prosecdef
   AND (pronamespace = 'dtm'::regnamespace OR proname LIKE 'dtm\_%');

DROP VIEW matrix;
DROP ROLE regress_dtm_nobody, regress_dtm_submit, regress_dtm_observe, regress_dtm_admin,
  regress_dtm_barrier;
