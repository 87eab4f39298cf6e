-- Installs src/script/dtm_pg_barrier.sql by a role that may create, and nothing else. The file is
-- sent as one string, as a client without psql would.
\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
\set ECHO none
\set content `cat :abs_srcdir/../../src/script/dtm_pg_barrier.sql`
\set ECHO all
CREATE ROLE regress_installer;
SELECT current_database() AS database \gset
GRANT CREATE ON DATABASE :"database" TO regress_installer;
GRANT CREATE ON SCHEMA public TO regress_installer;
SET ROLE regress_installer;
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
RESET ROLE;

SELECT oid::regprocedure AS function FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'dtm\_%'
 ORDER BY proname COLLATE "C", pronargs;
-- PUBLIC may call none of them, and every one has a comment.
SELECT count(*) FILTER (WHERE has_function_privilege('public', oid, 'EXECUTE')) AS public,
       count(*) FILTER (WHERE obj_description(oid, 'pg_proc') IS NULL) AS without_comment,
       count(*) FILTER (WHERE proowner <> 'regress_installer'::regrole) AS of_somebody_else
  FROM pg_proc
 WHERE proname LIKE 'dtm\_%' OR pronamespace = 'dtm_barrier'::regnamespace;
\d dtm_barrier.barrier

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
