-- Moving from dtm.

CREATE FUNCTION @extschema@.dtm_import(schema pg_catalog.text DEFAULT 'public',
    skip_bad pg_catalog.bool DEFAULT false, OUT outcome pg_catalog.text,
    OUT trans_type pg_catalog.text, OUT status pg_catalog.text, OUT number pg_catalog.int8,
    OUT name pg_catalog.text, OUT reason pg_catalog.text) RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_import' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.dtm_import(pg_catalog.text, pg_catalog.bool) IS
'Takes over what a dtm server has left unfinished in its PostgreSQL tables trans_global,
trans_branch_op and kv (topics) in a schema of this database. Stop every dtm server that uses them
first: a call that one has under way is not known here. What is taken is deleted there, so a dtm
that is started again does not go on with it, and a second call finds nothing. Statuses of
transactions and branches stay as they are, so do gid, create_time, rollback_reason and result; what
waits for a retry is called at dtm''s next_cron_time, the rest when this transaction commits;
attempts and intervals begin anew. Finished transactions stay where they are. The caller becomes
the owner and needs USAGE on their schema, SELECT and DELETE on them. Returns what was taken, as
numbers by trans_type (topic for topics) and status, and what was left, with its name (gid or topic)
and reason: topics that are here already, and, with skip_bad, all that cannot be taken; without it
that is an error, and nothing is taken. Errors: TD001 transactions or topics that cannot go on here
(DETAIL lists the first with their reasons), TD002 a gid is in use here, 42501 no right on the
tables, or to submit, 42P01 and 3F000 they do not exist, 42703 and 42804 they are not dtm''s, 42809
they run code (triggers, rules, policies …), 55P03 somebody is writing to them, 25006 read-only
transaction or standby.';

REVOKE ALL ON FUNCTION @extschema@.dtm_import(pg_catalog.text, pg_catalog.bool) FROM PUBLIC;
