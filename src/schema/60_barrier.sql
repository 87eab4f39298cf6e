-- The barrier: what a participant puts around its business SQL (P3).

-- Makes dtm_barrier.barrier, the table of dtm's clients, or adopts the one that is there.
CREATE FUNCTION dtm.install_barrier() RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_install_barrier' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dtm.install_barrier() IS
'Makes the table dtm_barrier.barrier, or adopts the existing one of dtm''s clients. CREATE EXTENSION
calls it. Error: 55000 the existing table has another shape; nothing is changed then.';
SELECT dtm.install_barrier();
COMMENT ON TABLE dtm.kv IS
  'Topics and their subscribers, written by dtm_subscribe(), dtm_unsubscribe() and '
  'dtm_drop_topic(); read dtm.topic. And where an adopted barrier table began.';
COMMENT ON COLUMN dtm.kv.cat IS 'Kind of the entry: topics or barrier.';
COMMENT ON COLUMN dtm.kv.k IS
  'topics: name of the topic; barrier: adopted, when dtm_barrier.barrier was there before us.';
COMMENT ON COLUMN dtm.kv.v IS
  'topics: JSON text [{"url": …, "remark": …}, …]; barrier: the largest id at that time.';

CREATE FUNCTION @extschema@.dtm_barrier(trans_type pg_catalog.text, gid pg_catalog.text,
    branch_id pg_catalog.text, op pg_catalog.text, barrier_id pg_catalog.text DEFAULT NULL)
  RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_barrier' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier(pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text) IS
'Is this branch call to do its work? True: do it, in this transaction. False: it was done before,
was undone before it arrived, or there is nothing to undo: do nothing and answer success (P3,
dtm-compat 6.6). The arguments are those of the branch call; barrier_id NULL counts 01, 02, … per
transaction, branch and op. Errors: TD001 wrong argument, 25P01 alone in its own transaction, 25006
read-only, TDF00 undone before it arrived (dtm.strict_barrier; op msg always), TD002 op msg has
committed already, 40001 in REPEATABLE READ and SERIALIZABLE: repeat the transaction.';

CREATE FUNCTION @extschema@.dtm_barrier_verdict(trans_type pg_catalog.text, gid pg_catalog.text,
    branch_id pg_catalog.text, op pg_catalog.text, barrier_id pg_catalog.text DEFAULT NULL)
  RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_barrier_verdict' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_verdict(pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'As dtm_barrier, but says why: run (do it), duplicate (done before), hanging (undone before it
arrived), empty (nothing to undo). Only run may do work. Raises neither TDF00 nor TD002: with op msg
roll back unless it says run.';

CREATE FUNCTION @extschema@.dtm_barrier_call(trans_type pg_catalog.text, gid pg_catalog.text,
    branch_id pg_catalog.text, op pg_catalog.text, sql pg_catalog.text) RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_barrier_call' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_call(pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Runs one SQL statement behind the barrier, with the caller''s rights, in the caller''s transaction;
an error takes the barrier row with it. Returns whether it ran. Errors: those of dtm_barrier, TD001
also for SQL that is not one statement or is transaction control, and those of the SQL.';

CREATE FUNCTION @extschema@.dtm_barrier_call(trans_type pg_catalog.text, gid pg_catalog.text,
    branch_id pg_catalog.text, op pg_catalog.text, sql pg_catalog.text, VARIADIC args "any")
  RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_barrier_call_any' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_call(pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text, pg_catalog.text, "any") IS
'As the form without args; $1, $2, … in the SQL are args, with their types. Text and untyped
literals take the type that their place in the SQL asks for.';

CREATE FUNCTION @extschema@.dtm_barrier_call(trans_type pg_catalog.text, gid pg_catalog.text,
    branch_id pg_catalog.text, op pg_catalog.text, sql pg_catalog.text,
    VARIADIC args pg_catalog.text[]) RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_barrier_call_text' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_call(pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text[]) IS
'As the form with typed args, for drivers that send parameters without types: each takes the type
that its place in the SQL asks for.';

CREATE FUNCTION @extschema@.dtm_barrier_query_prepared(trans_type pg_catalog.text,
    gid pg_catalog.text) RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_barrier_query_prepared' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_query_prepared(pg_catalog.text, pg_catalog.text) IS
'Answers the query-prepared question of a message whose local transaction used the barrier with op
msg: true when that has committed. False: it has not, and never can any more; answer FAILURE. Waits
for a local transaction that is still open (dtm-compat 6.6.2). Errors: as dtm_barrier.';

CREATE FUNCTION @extschema@.dtm_branch(trans_type pg_catalog.text, gid pg_catalog.text,
    branch_id pg_catalog.text, op pg_catalog.text) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_branch(pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text) IS
'Names the branch on whose behalf this transaction writes, until its end: tables under dtm_protect()
write or skip rows by its barrier, decided once at the first row. Errors: TD001 wrong argument,
25P01 alone in its own transaction.';

CREATE FUNCTION @extschema@.dtm_branch(query_string pg_catalog.text) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_branch_query' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_branch(pg_catalog.text) IS
'As the form with four arguments, which are taken from the query string of the branch call (or its
whole URL): gid=…&branch_id=…&op=…&trans_type=….';

CREATE FUNCTION dtm.barrier_trigger() RETURNS pg_catalog.trigger
  AS 'MODULE_PATHNAME', 'dtm_barrier_trigger' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dtm.barrier_trigger() IS
'Internal: the trigger of tables under dtm_protect(). Errors: TD006 a write without dtm_branch()
where it is required, 0A000 what cannot be skipped, and those of dtm_barrier.';

CREATE FUNCTION @extschema@.dtm_protect(table_name pg_catalog.regclass,
    barrier_required pg_catalog.bool DEFAULT NULL) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_protect' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_protect(pg_catalog.regclass, pg_catalog.bool) IS
'Has the barrier guard the writes of a table by triggers: rows are written, or skipped, as the
barrier of the branch says that the transaction named with dtm_branch(). barrier_required: writes of
a transaction without branch raise TD006 (true), pass (false), or do as dtm.barrier_required says
(NULL). Called again it changes that. The caller must own the table. Errors: 42809 not a table that
can be protected.';

CREATE FUNCTION @extschema@.dtm_unprotect(table_name pg_catalog.regclass)
  RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_unprotect' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_unprotect(pg_catalog.regclass) IS
'Takes back dtm_protect(). Error: TD004 the table is not protected.';

CREATE FUNCTION @extschema@.dtm_barrier_purge(older_than pg_catalog.interval DEFAULT NULL)
  RETURNS pg_catalog.int8
  AS 'MODULE_PATHNAME', 'dtm_barrier_purge' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_purge(pg_catalog.interval) IS
'Removes barrier rows older than the interval (NULL: dtm.barrier_retention) and returns their
number. Rows of transactions that are unfinished in this database stay (P12). The coordinator does
this by itself. Error: TD001 the age is negative.';

REVOKE ALL ON FUNCTION
  dtm.install_barrier(), dtm.barrier_trigger(),
  @extschema@.dtm_barrier(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text),
  @extschema@.dtm_barrier_verdict(pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_barrier_call(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text),
  @extschema@.dtm_barrier_call(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text, "any"),
  @extschema@.dtm_barrier_call(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.text, pg_catalog.text[]),
  @extschema@.dtm_barrier_query_prepared(pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_branch(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_branch(pg_catalog.text),
  @extschema@.dtm_protect(pg_catalog.regclass, pg_catalog.bool),
  @extschema@.dtm_unprotect(pg_catalog.regclass),
  @extschema@.dtm_barrier_purge(pg_catalog.interval)
FROM PUBLIC;
