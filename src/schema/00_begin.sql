-- dtm_pg: distributed transactions inside PostgreSQL. This script is made of src/schema/*.sql by
-- make. Rules: every name is qualified; nobody gets a right here (dtm_grant() hands them out);
-- tables and internals live in schema dtm, the functions for users in the schema that CREATE
-- EXTENSION chose.

\echo Use "CREATE EXTENSION dtm_pg" to load this file. \quit

DO $do$
BEGIN
  IF pg_catalog.to_regclass('dtm.trans_global') IS NOT NULL THEN
    RAISE EXCEPTION 'schema dtm has the tables of a dtm server'
      USING ERRCODE = 'duplicate_schema',
            DETAIL = 'The tables of dtm_pg are in a schema of the same name.',
            HINT = 'Stop every dtm server that uses them, ALTER SCHEMA dtm RENAME TO dtm_server, '
                   'CREATE EXTENSION dtm_pg, and take over what is unfinished: '
                   'SELECT * FROM dtm_import(''dtm_server'').';
  ELSIF pg_catalog.to_regnamespace('dtm') IS NOT NULL THEN
    RAISE EXCEPTION 'schema dtm exists already'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'The tables of dtm_pg are in a schema of that name: rename the existing one '
                   'with ALTER SCHEMA dtm RENAME TO ..., or drop it.';
  END IF;
END
$do$;
CREATE SCHEMA dtm;
REVOKE ALL ON SCHEMA dtm FROM PUBLIC;
COMMENT ON SCHEMA dtm IS
  'Tables, views and internals of extension dtm_pg. The functions for users are called dtm_*.';
