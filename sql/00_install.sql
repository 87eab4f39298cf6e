-- Installing, and what the other tests need.

-- A schema of that name that is not ours is not taken over.
\set SHOW_CONTEXT never
CREATE SCHEMA dtm;
CREATE EXTENSION dtm_pg;
DROP SCHEMA dtm;

-- An installation that is rolled back leaves nothing.
BEGIN;
CREATE EXTENSION dtm_pg;
SELECT count(*) FROM dtm.transaction;
ROLLBACK;
SELECT to_regnamespace('dtm');

CREATE EXTENSION dtm_pg;
-- The control file, the library and the SQL are of one version.
SELECT extversion = (SELECT default_version FROM pg_available_extensions WHERE name = 'dtm_pg') AS
  "SQL",
       (SELECT level FROM dtm_check() WHERE subject = 'version') AS library
  FROM pg_extension WHERE extname = 'dtm_pg';
-- A dump carries transactions and topics.
SELECT unnest(extconfig)::regclass FROM pg_extension WHERE extname = 'dtm_pg';
-- Dropping it can be taken back, too.
BEGIN;
DROP EXTENSION dtm_pg;
ROLLBACK;
SELECT count(*) FROM dtm.transaction;

-- Runs a statement and tells how it was refused, with all that a user would read.
CREATE FUNCTION refused(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  state text; message text; detail text; hint text;
BEGIN
  BEGIN
    EXECUTE statement;
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
      detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN NEXT state || ' ' || message;
    IF detail <> '' THEN RETURN NEXT '  DETAIL ' || detail; END IF;
    IF hint <> '' THEN RETURN NEXT '  HINT ' || hint; END IF;
    RETURN;
  END;
  RETURN NEXT 'accepted';
END $$;
