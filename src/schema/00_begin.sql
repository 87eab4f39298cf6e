-- dtm_pg: distributed transactions inside PostgreSQL. This script is made of src/schema/*.sql by
-- make. Rules: every name is qualified; nobody gets a right here (dtm_grant() hands them out);
-- tables and internals live in schema dtm, the functions for users in the schema that CREATE
-- EXTENSION chose.

\echo Use "CREATE EXTENSION dtm_pg" to load this file. \quit

CREATE SCHEMA dtm;
REVOKE ALL ON SCHEMA dtm FROM PUBLIC;
COMMENT ON SCHEMA dtm IS
  'Tables, views and internals of extension dtm_pg. The functions for users are called dtm_*.';
