-- Default privileges of the role that installs give nobody a right on what the script makes.
\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
\set ECHO none
\set content `cat :abs_srcdir/../../src/script/dtm_pg_barrier.sql`
SELECT current_database() AS here \gset
\set ECHO all
CREATE DATABASE regress_privileges TEMPLATE template0;
\c regress_privileges
CREATE ROLE regress_favourite;
CREATE ROLE regress_friend;
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, TRIGGER ON TABLES TO regress_favourite, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_favourite;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_favourite WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_favourite;
CREATE TABLE of_the_user (n int);
CREATE VIEW rights_of_others AS
SELECT what, grantee::regrole, string_agg(privilege_type, ' ' ORDER BY privilege_type)
  FROM (SELECT 'schema ' || nspname, nspowner, nspacl FROM pg_namespace
         WHERE nspname = 'dtm_barrier'
        UNION ALL
        SELECT 'table ' || oid::regclass, relowner, relacl FROM pg_class
         WHERE relnamespace = to_regnamespace('dtm_barrier') OR relname = 'of_the_user'
        UNION ALL
        SELECT 'function ' || oid::regprocedure, proowner,
               coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
         WHERE pronamespace = to_regnamespace('dtm_barrier') OR proname LIKE 'dtm\_%')
       AS o (what, owner, acl), aclexplode(acl)
 WHERE grantee <> owner GROUP BY 1, 2 ORDER BY what COLLATE "C", 2;
SET client_min_messages = warning;
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
SELECT * FROM rights_of_others;
-- What is granted afterwards stays when the script is run again.
GRANT USAGE ON SCHEMA dtm_barrier TO regress_friend;
GRANT SELECT ON dtm_barrier.barrier TO regress_friend;
GRANT EXECUTE ON FUNCTION dtm_barrier TO regress_friend;
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
SELECT * FROM rights_of_others;
\c :here
DROP DATABASE regress_privileges;
DROP ROLE regress_favourite, regress_friend;
