-- dtm_pg: distributed transactions inside PostgreSQL. This script is made of src/schema/*.sql by
-- make. Rules: every name is qualified; nobody gets a right here (dtm_grant() hands them out);
-- tables and internals live in schema dtm, the functions for users in the schema that CREATE
-- EXTENSION chose.

\echo Use "CREATE EXTENSION dtm_pg" to load this file. \quit

CREATE SCHEMA dtm;
REVOKE ALL ON SCHEMA dtm FROM PUBLIC;
COMMENT ON SCHEMA dtm IS
  'Tables, views and internals of extension dtm_pg. The functions for users are called dtm_*.';
-- One row per global transaction. Its branches are derived from request and progress: a two-branch
-- saga costs one INSERT and one UPDATE. No CHECKs but one: rows are written by our functions only.
CREATE TABLE dtm.trans (
  gid                 pg_catalog.text COLLATE "C" NOT NULL,
  trans_type          pg_catalog.text NOT NULL,
  status              pg_catalog.text NOT NULL,
  owner               pg_catalog.regrole NOT NULL,
  request             pg_catalog.text NOT NULL,
  progress            pg_catalog.text,
  version             pg_catalog.int8 NOT NULL DEFAULT 1,
  attempts            pg_catalog.int4 NOT NULL DEFAULT 0,
  create_time         pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  update_time         pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finish_time         pg_catalog.timestamptz,
  rollback_time       pg_catalog.timestamptz,
  next_cron_time      pg_catalog.timestamptz,
  next_cron_interval  pg_catalog.int4,
  last_error          pg_catalog.text,
  rollback_reason     pg_catalog.text,
  result              pg_catalog.text,
  attention           pg_catalog.text,
  CONSTRAINT trans_pkey PRIMARY KEY (gid)
)
-- Every row is inserted once and updated once or a few times: room in the page keeps that HOT when
-- next_cron_time does not change, and vacuum comes often enough that dead index entries of finished
-- rows never pile up.
WITH (
  fillfactor = 85,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);

-- Partial on next_cron_time alone: a predicate on status would make every change of status non-HOT.
CREATE INDEX trans_due ON dtm.trans (next_cron_time) WHERE next_cron_time IS NOT NULL;
-- Almost always empty.
CREATE INDEX trans_attention ON dtm.trans (gid) WHERE attention IS NOT NULL;

-- lz4 where the server was built with it: 20 kB requests are stored twice as fast as with pglz.
DO $do$
BEGIN
  IF pg_catalog.current_setting('server_version_num')::pg_catalog.int4
     OPERATOR(pg_catalog.>=) 140000 THEN
    EXECUTE 'ALTER TABLE dtm.trans ALTER COLUMN request SET COMPRESSION lz4';
    EXECUTE 'ALTER TABLE dtm.trans ALTER COLUMN progress SET COMPRESSION lz4';
  END IF;
EXCEPTION WHEN feature_not_supported THEN
  NULL;
END
$do$;

COMMENT ON TABLE dtm.trans IS
  'One row per global transaction. Written by the functions of dtm_pg only; read dtm.transaction.';
COMMENT ON COLUMN dtm.trans.gid IS 'Global id; names one transaction for ever.';
COMMENT ON COLUMN dtm.trans.trans_type IS 'saga or msg.';
COMMENT ON COLUMN dtm.trans.status IS
  'prepared, submitted, aborting, succeed or failed; dtm.state_transitions() lists the changes.';
COMMENT ON COLUMN dtm.trans.owner IS 'The role that submitted it.';
COMMENT ON COLUMN dtm.trans.request IS 'Steps, payloads and options: JSON text, never changed.';
COMMENT ON COLUMN dtm.trans.progress IS
  'What happened to each branch: JSON text. NULL: nothing written since the submit, every '
  'action may have run; or, with status succeed, every action succeeded at its first call.';
COMMENT ON COLUMN dtm.trans.version IS
  'Grows with every write; a writer names the one it has read.';
COMMENT ON COLUMN dtm.trans.attempts IS 'Calls made for it.';
COMMENT ON COLUMN dtm.trans.create_time IS 'When it was submitted, by the clock of the database.';
COMMENT ON COLUMN dtm.trans.update_time IS 'When the row was last written.';
COMMENT ON COLUMN dtm.trans.finish_time IS 'When it reached succeed.';
COMMENT ON COLUMN dtm.trans.rollback_time IS 'When it reached failed.';
COMMENT ON COLUMN dtm.trans.next_cron_time IS
  'When the coordinator looks at it by itself. NULL: never (finished or put aside).';
COMMENT ON COLUMN dtm.trans.next_cron_interval IS 'Current retry interval in seconds.';
COMMENT ON COLUMN dtm.trans.last_error IS 'Last answer of a branch that was not a success.';
COMMENT ON COLUMN dtm.trans.rollback_reason IS 'Why it was decided to roll back.';
COMMENT ON COLUMN dtm.trans.result IS 'Result for whoever waits for it; unused by saga and msg.';
COMMENT ON COLUMN dtm.trans.attention IS 'Why it was put aside; dtm.attention lists it.';

-- dtm's key-value table; cat 'topics': k is the topic, v the JSON list of its subscribers.
CREATE TABLE dtm.kv (
  cat          pg_catalog.text COLLATE "C" NOT NULL,
  k            pg_catalog.text COLLATE "C" NOT NULL,
  v            pg_catalog.text NOT NULL,
  version      pg_catalog.int8 NOT NULL DEFAULT 1,
  create_time  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  update_time  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT kv_pkey PRIMARY KEY (cat, k)
);
COMMENT ON TABLE dtm.kv IS
  'Topics and their subscribers. Written by dtm_subscribe(), dtm_unsubscribe() and '
  'dtm_drop_topic(); read dtm.topic.';
COMMENT ON COLUMN dtm.kv.cat IS 'Kind of the entry: topics.';
COMMENT ON COLUMN dtm.kv.k IS 'Name of the topic.';
COMMENT ON COLUMN dtm.kv.v IS 'JSON text [{"url": …, "remark": …}, …].';
COMMENT ON COLUMN dtm.kv.version IS 'Grows with every write.';
COMMENT ON COLUMN dtm.kv.create_time IS 'When the entry was made.';
COMMENT ON COLUMN dtm.kv.update_time IS 'When the entry was last written.';

-- A dump carries what a user would lose.
SELECT pg_catalog.pg_extension_config_dump('dtm.trans', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.kv', '');

REVOKE ALL ON TABLE dtm.trans, dtm.kv FROM PUBLIC;
-- Submitting.

CREATE FUNCTION @extschema@.dtm_submit(request pg_catalog.jsonb) RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_submit_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(pg_catalog.jsonb) IS
'Submits a global transaction as part of this transaction: when it commits, the coordinator drives
it to its end (P1); when it rolls back, nothing is called (P2). The argument is the body that
dtm''s HTTP submit takes: trans_type (saga, msg), steps, payloads, gid and options; times in
seconds. Returns the gid; a gid is made when none is given. A second submit of an unfinished gid
with the same request returns the gid. Errors: TD001 the request is wrong (DETAIL names the field
by JSON path), TD002 the gid is in use by another request or a finished transaction, 25006
read-only transaction or standby.';

CREATE FUNCTION @extschema@.dtm_submit(trans_type pg_catalog.text, steps pg_catalog.jsonb[],
    gid pg_catalog.text DEFAULT NULL, options pg_catalog.jsonb DEFAULT NULL) RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_submit_steps' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION
  @extschema@.dtm_submit(pg_catalog.text, pg_catalog.jsonb[], pg_catalog.text, pg_catalog.jsonb) IS
'Submits a global transaction as part of this transaction: when it commits, the coordinator drives
it to its end (P1); when it rolls back, nothing is called (P2). trans_type: saga or msg. steps:
made by dtm_step(). gid: NULL or an empty text has one made. options, a JSON object:
timeout_to_fail (seconds until a saga that has not succeeded is rolled back; default never),
retry_interval (seconds, default dtm.retry_interval), request_timeout (seconds per call, default
dtm.request_timeout), retry_limit (saga: so many repetitions at once, then it is rolled back;
default: retried for ever), concurrent (boolean: call all steps at the same time), delay (msg:
seconds before the first call), branch_headers (object: HTTP headers of every call), protocol
(http), exact_progress (boolean: write the row after every step). Returns the gid. Errors: TD001,
TD002, 25006 as the other form; JSON paths refer to the arguments, e.g. $.steps[1].action (counted
from 0).';

CREATE FUNCTION @extschema@.dtm_step(action pg_catalog.text,
    compensate pg_catalog.text DEFAULT NULL,
    payload pg_catalog.jsonb DEFAULT NULL, after pg_catalog.int4[] DEFAULT NULL)
  RETURNS pg_catalog.jsonb
  AS 'MODULE_PATHNAME', 'dtm_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION
  @extschema@.dtm_step(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.int4[]) IS
'One step for dtm_submit(trans_type, steps). action: URL that does the work; '''' succeeds without
a call; a msg may name topic://NAME. compensate: URL that undoes it (saga); NULL or '''': nothing
to undo. Both are called by POST with the payload as body, or by GET when payload is NULL. after:
the steps, counted from 0, that must have succeeded before this one is called; it makes the saga
concurrent. Error: TD001 action is NULL.';

CREATE FUNCTION @extschema@.dtm_new_gid() RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_new_gid' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_new_gid() IS
'A fresh gid: 22 letters and digits that sort by time, after dtm.node_name and - where it is set.';

REVOKE ALL ON FUNCTION
  @extschema@.dtm_submit(pg_catalog.jsonb),
  @extschema@.dtm_submit(pg_catalog.text, pg_catalog.jsonb[], pg_catalog.text, pg_catalog.jsonb),
  @extschema@.dtm_step(pg_catalog.text, pg_catalog.text, pg_catalog.jsonb, pg_catalog.int4[]),
  @extschema@.dtm_new_gid()
FROM PUBLIC;
-- Asking. Every function here shows a role its own transactions, and all of them to who may execute
-- dtm.observe_all().

CREATE FUNCTION dtm.observe_all() RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_observe_all' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.observe_all() IS
'Does nothing. Who may execute it sees the transactions of all roles:
dtm_grant(role, ''observe'').';

CREATE FUNCTION @extschema@.dtm_query(gid pg_catalog.text) RETURNS pg_catalog.jsonb
  AS 'MODULE_PATHNAME', 'dtm_query' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_query(pg_catalog.text) IS
'A transaction as dtm''s GET query prints it: {"transaction": {...}, "branches": [...]}.
transaction is null when the gid is unknown or belongs to a role that the caller may not see.
Unset members are left out.';

CREATE FUNCTION @extschema@.dtm_wait(gid pg_catalog.text,
    timeout pg_catalog.interval DEFAULT '30 s') RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_wait' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_wait(pg_catalog.text, pg_catalog.interval) IS
'Waits until a transaction is finished; returns succeed or failed, or NULL when the timeout is
over first (timeout NULL: no limit). Call it as a statement of its own, after the COMMIT of the
submit. Errors: 55000 this transaction itself submitted the gid, TD004 unknown gid.';

CREATE FUNCTION @extschema@.dtm_explain(gid pg_catalog.text) RETURNS SETOF pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_explain' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION @extschema@.dtm_explain(pg_catalog.text) IS
'A transaction as a tree: its steps with their attempts, last answers and next times, and what
waits for what. The last line says in one sentence why it waits or how it ended. Error: TD004
unknown gid.';

CREATE FUNCTION @extschema@.dtm_check(OUT level pg_catalog.text, OUT subject pg_catalog.text,
    OUT finding pg_catalog.text, OUT remedy pg_catalog.text) RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_check' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 12;
COMMENT ON FUNCTION @extschema@.dtm_check() IS
'Is this server able to keep the promises? One row per subject; level is ok, note, warning or
error, remedy says what to do. Look at the rows WHERE level <> ''ok'' first when nothing
happens.';

CREATE FUNCTION dtm.branches_of(gid pg_catalog.text, trans_type pg_catalog.text,
    status pg_catalog.text, create_time pg_catalog.timestamptz,
    finish_time pg_catalog.timestamptz, request pg_catalog.text, progress pg_catalog.text,
    OUT branch_id pg_catalog.text, OUT op pg_catalog.text, OUT url pg_catalog.text,
    OUT branch_status pg_catalog.text, OUT attempts pg_catalog.int4, OUT errors pg_catalog.int4,
    OUT next_time pg_catalog.timestamptz, OUT branch_finish_time pg_catalog.timestamptz,
    OUT last_error pg_catalog.text, OUT may_have_run pg_catalog.bool)
  RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_branches_of' LANGUAGE C STABLE PARALLEL SAFE COST 100 ROWS 4;
COMMENT ON FUNCTION dtm.branches_of(pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text) IS
'Internal: the branch operations that the columns of a row of dtm.trans stand for. No row when its
texts cannot be read. Read dtm.branch.';

CREATE FUNCTION dtm.concern_of(gid pg_catalog.text, trans_type pg_catalog.text,
    status pg_catalog.text, create_time pg_catalog.timestamptz,
    next_cron_time pg_catalog.timestamptz, request pg_catalog.text, progress pg_catalog.text,
    attention pg_catalog.text, OUT reason pg_catalog.text, OUT remedy pg_catalog.text)
  RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_concern_of' LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100 ROWS 1;
COMMENT ON FUNCTION dtm.concern_of(pg_catalog.text, pg_catalog.text, pg_catalog.text,
    pg_catalog.timestamptz, pg_catalog.timestamptz, pg_catalog.text, pg_catalog.text,
    pg_catalog.text) IS
'Internal: why an unfinished row of dtm.trans needs a person; no row when it does not.
Read dtm.attention.';

CREATE FUNCTION dtm.coordinators(OUT database pg_catalog.oid, OUT worker pg_catalog.int4,
    OUT workers pg_catalog.int4, OUT pid pg_catalog.int4, OUT started pg_catalog.timestamptz,
    OUT active pg_catalog.int4, OUT in_flight pg_catalog.int4, OUT ring pg_catalog.int4,
    OUT taken_from_ring pg_catalog.int8, OUT taken_by_sweep pg_catalog.int8,
    OUT ring_overflows pg_catalog.int8, OUT calls pg_catalog.int8,
    OUT answers_success pg_catalog.int8, OUT answers_failure pg_catalog.int8,
    OUT answers_ongoing pg_catalog.int8, OUT answers_error pg_catalog.int8,
    OUT settles pg_catalog.int8, OUT settled_rows pg_catalog.int8,
    OUT settle_conflicts pg_catalog.int8, OUT succeeded pg_catalog.int8,
    OUT failed pg_catalog.int8, OUT attention pg_catalog.int8, OUT alerts pg_catalog.int8)
  RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_coordinators' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION dtm.coordinators() IS
'Internal: the coordinators of this server, from shared memory. Read dtm.stat_coordinator.';

CREATE FUNCTION dtm.state_transitions(OUT trans_type pg_catalog.text,
    OUT from_status pg_catalog.text, OUT trigger pg_catalog.text, OUT to_status pg_catalog.text,
    OUT why pg_catalog.text) RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_state_transitions' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 20;
COMMENT ON FUNCTION dtm.state_transitions() IS
'All changes of status that there are: from, what triggers it, to, and why.
Nothing else happens (P4).';

REVOKE ALL ON FUNCTION
  @extschema@.dtm_query(pg_catalog.text),
  @extschema@.dtm_wait(pg_catalog.text, pg_catalog.interval),
  @extschema@.dtm_explain(pg_catalog.text),
  @extschema@.dtm_check()
FROM PUBLIC;
-- What people read. A view reads the table with the rights of its owner, and shows each role what
-- is its own; observe_all is looked up once per query, not once per row.

CREATE VIEW dtm.transaction WITH (security_barrier = true) AS
  SELECT t.gid, t.trans_type, t.status, t.owner, t.create_time, t.update_time, t.finish_time,
         t.rollback_time, t.next_cron_time, t.next_cron_interval, t.attempts, t.last_error,
         t.rollback_reason, t.result, t.attention
    FROM dtm.trans t
   WHERE (SELECT pg_catalog.has_function_privilege(
                   'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE'))
      OR pg_catalog.pg_has_role(t.owner::pg_catalog.oid, 'USAGE');
COMMENT ON VIEW dtm.transaction IS
  'Global transactions: one''s own, or all for who may execute dtm.observe_all().';
COMMENT ON COLUMN dtm.transaction.gid IS 'Global id.';
COMMENT ON COLUMN dtm.transaction.trans_type IS 'saga or msg.';
COMMENT ON COLUMN dtm.transaction.status IS 'prepared, submitted, aborting, succeed or failed.';
COMMENT ON COLUMN dtm.transaction.owner IS 'The role that submitted it.';
COMMENT ON COLUMN dtm.transaction.create_time IS 'When it was submitted.';
COMMENT ON COLUMN dtm.transaction.update_time IS 'When its row was last written.';
COMMENT ON COLUMN dtm.transaction.finish_time IS 'When it reached succeed.';
COMMENT ON COLUMN dtm.transaction.rollback_time IS 'When it reached failed.';
COMMENT ON COLUMN dtm.transaction.next_cron_time IS
  'When the coordinator looks at it by itself. NULL: never (finished or put aside).';
COMMENT ON COLUMN dtm.transaction.next_cron_interval IS 'Current retry interval in seconds.';
COMMENT ON COLUMN dtm.transaction.attempts IS 'Calls made for it, as of the last write.';
COMMENT ON COLUMN dtm.transaction.last_error IS 'Last answer of a branch that was not a success.';
COMMENT ON COLUMN dtm.transaction.rollback_reason IS 'Why it was decided to roll back.';
COMMENT ON COLUMN dtm.transaction.result IS 'Result for whoever waits; unused by saga and msg.';
COMMENT ON COLUMN dtm.transaction.attention IS 'Why it was put aside.';

CREATE VIEW dtm.branch WITH (security_barrier = true) AS
  SELECT t.gid, b.branch_id, b.op, b.url, b.branch_status AS status, b.attempts, b.errors,
         b.next_time, b.branch_finish_time AS finish_time, b.last_error, b.may_have_run
    FROM dtm.trans t
   CROSS JOIN LATERAL dtm.branches_of(t.gid, t.trans_type, t.status, t.create_time, t.finish_time,
                                      t.request, t.progress) b
   WHERE (SELECT pg_catalog.has_function_privilege(
                   'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE'))
      OR pg_catalog.pg_has_role(t.owner::pg_catalog.oid, 'USAGE');
COMMENT ON VIEW dtm.branch IS
  'Branch operations of the transactions in dtm.transaction, in dtm''s order: of each branch of a '
  'saga the compensation, then the action. Derived from the row; of a running transaction it '
  'shows what was last written, not each call.';
COMMENT ON COLUMN dtm.branch.gid IS 'Global id of the transaction.';
COMMENT ON COLUMN dtm.branch.branch_id IS
  'Number of the branch, from 01; 00 is the message itself.';
COMMENT ON COLUMN dtm.branch.op IS 'action, compensate, or msg (the question whether to send it).';
COMMENT ON COLUMN dtm.branch.url IS 'What is called; empty: it succeeds without a call.';
COMMENT ON COLUMN dtm.branch.status IS 'prepared, succeed or failed.';
COMMENT ON COLUMN dtm.branch.attempts IS 'Calls made.';
COMMENT ON COLUMN dtm.branch.errors IS
  'Errors since the last other answer; they stretch the interval.';
COMMENT ON COLUMN dtm.branch.next_time IS 'Not called again before.';
COMMENT ON COLUMN dtm.branch.finish_time IS 'When it reached succeed or failed.';
COMMENT ON COLUMN dtm.branch.last_error IS 'Last answer that was not a success.';
COMMENT ON COLUMN dtm.branch.may_have_run IS
  'Its call may have left this machine; a rollback undoes every action that may have run (P6).';

CREATE VIEW dtm.attention WITH (security_barrier = true) AS
  SELECT t.gid, t.trans_type, t.status, t.owner, t.create_time, c.reason, c.remedy
    FROM dtm.trans t
   CROSS JOIN LATERAL dtm.concern_of(t.gid, t.trans_type, t.status, t.create_time,
                                     t.next_cron_time, t.request, t.progress, t.attention) c
   -- Each of the two has an index that leaves the finished rows out.
   WHERE (t.next_cron_time IS NOT NULL OR t.attention IS NOT NULL)
     AND t.status OPERATOR(pg_catalog.<>) ALL ('{succeed,failed}'::pg_catalog.text[])
     AND ((SELECT pg_catalog.has_function_privilege(
                    'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE'))
          OR pg_catalog.pg_has_role(t.owner::pg_catalog.oid, 'USAGE'));
COMMENT ON VIEW dtm.attention IS
  'Unfinished transactions that need a person (P1): put aside, failing again and again, or due '
  'for long while nobody works on them.';
COMMENT ON COLUMN dtm.attention.gid IS 'Global id of the transaction.';
COMMENT ON COLUMN dtm.attention.trans_type IS 'saga or msg.';
COMMENT ON COLUMN dtm.attention.status IS 'prepared, submitted or aborting.';
COMMENT ON COLUMN dtm.attention.owner IS 'The role that submitted it.';
COMMENT ON COLUMN dtm.attention.create_time IS 'When it was submitted.';
COMMENT ON COLUMN dtm.attention.reason IS 'Why it needs a person.';
COMMENT ON COLUMN dtm.attention.remedy IS 'What can be done.';

CREATE VIEW dtm.topic AS
  SELECT v.k AS topic, s.url, s.remark, v.version, v.update_time
    FROM dtm.kv v
   CROSS JOIN LATERAL pg_catalog.json_to_recordset(v.v::pg_catalog.json)
                      AS s(url pg_catalog.text, remark pg_catalog.text)
   WHERE v.cat OPERATOR(pg_catalog.=) 'topics';
COMMENT ON VIEW dtm.topic IS
  'Subscribers of topics: a msg whose action is topic://NAME calls each.';
COMMENT ON COLUMN dtm.topic.topic IS 'Name of the topic.';
COMMENT ON COLUMN dtm.topic.url IS 'What is called.';
COMMENT ON COLUMN dtm.topic.remark IS 'Remark of the subscriber.';
COMMENT ON COLUMN dtm.topic.version IS 'Grows with every change of the topic.';
COMMENT ON COLUMN dtm.topic.update_time IS 'When the topic was last changed.';

CREATE VIEW dtm.stat_coordinator AS
  SELECT d.datname, c.worker, c.workers, c.pid, c.started, c.active, c.in_flight, c.ring,
         c.taken_from_ring, c.taken_by_sweep, c.ring_overflows, c.calls, c.answers_success,
         c.answers_failure, c.answers_ongoing, c.answers_error, c.settles, c.settled_rows,
         c.settle_conflicts, c.succeeded, c.failed, c.attention, c.alerts
    FROM dtm.coordinators() c
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) c.database;
COMMENT ON VIEW dtm.stat_coordinator IS
  'The coordinators of this server and what they have done since they started.';
COMMENT ON COLUMN dtm.stat_coordinator.datname IS 'Database it works for.';
COMMENT ON COLUMN dtm.stat_coordinator.worker IS 'Its slice of the gids, from 0.';
COMMENT ON COLUMN dtm.stat_coordinator.workers IS 'Number of slices (dtm.workers).';
COMMENT ON COLUMN dtm.stat_coordinator.pid IS 'Process id; NULL: it is being started.';
COMMENT ON COLUMN dtm.stat_coordinator.started IS 'When it was started.';
COMMENT ON COLUMN dtm.stat_coordinator.active IS 'Transactions it holds in memory.';
COMMENT ON COLUMN dtm.stat_coordinator.in_flight IS 'Calls that are not answered yet.';
COMMENT ON COLUMN dtm.stat_coordinator.ring IS 'Hints of sessions that it has not read yet.';
COMMENT ON COLUMN dtm.stat_coordinator.taken_from_ring IS 'Transactions that a session told it of.';
COMMENT ON COLUMN dtm.stat_coordinator.taken_by_sweep IS 'Transactions that it found by itself.';
COMMENT ON COLUMN dtm.stat_coordinator.ring_overflows IS
  'Hints that found the ring full; the sweep finds their transactions.';
COMMENT ON COLUMN dtm.stat_coordinator.calls IS 'Branch calls made.';
COMMENT ON COLUMN dtm.stat_coordinator.answers_success IS 'Answers: success.';
COMMENT ON COLUMN dtm.stat_coordinator.answers_failure IS 'Answers: FAILURE.';
COMMENT ON COLUMN dtm.stat_coordinator.answers_ongoing IS 'Answers: ONGOING.';
COMMENT ON COLUMN dtm.stat_coordinator.answers_error IS
  'Answers that were none of these, and no answer.';
COMMENT ON COLUMN dtm.stat_coordinator.settles IS 'Commits with which it wrote progress.';
COMMENT ON COLUMN dtm.stat_coordinator.settled_rows IS 'Rows written by them.';
COMMENT ON COLUMN dtm.stat_coordinator.settle_conflicts IS 'Rows that somebody else had changed.';
COMMENT ON COLUMN dtm.stat_coordinator.succeeded IS 'Transactions that reached succeed.';
COMMENT ON COLUMN dtm.stat_coordinator.failed IS 'Transactions that reached failed.';
COMMENT ON COLUMN dtm.stat_coordinator.attention IS 'Transactions that it put aside.';
COMMENT ON COLUMN dtm.stat_coordinator.alerts IS 'Calls of dtm.alert_webhook.';

REVOKE ALL ON TABLE dtm.transaction, dtm.branch, dtm.attention, dtm.topic, dtm.stat_coordinator
  FROM PUBLIC;
-- Verbs, topics, rights.

CREATE FUNCTION @extschema@.dtm_retry_now(gid pg_catalog.text) RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_retry_now' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_retry_now(pg_catalog.text) IS
'Has a transaction that waits for its next attempt, or was put aside, taken up when this
transaction commits. Attempts are kept. Returns false, and changes nothing, when no retry was
waiting (it is due already, or delayed by its submit). Errors: TD003 finished, TD004 unknown
gid.';

CREATE FUNCTION @extschema@.dtm_force_stop(gid pg_catalog.text) RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_force_stop' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_force_stop(pg_catalog.text) IS
'Gives a transaction up: its status becomes failed when this transaction commits, and nothing more
is called, no compensation either. What its branches have done must be put right by hand. Returns
the new status. Errors: TD003 finished, TD004 unknown gid.';

CREATE FUNCTION @extschema@.dtm_subscribe(topic pg_catalog.text, url pg_catalog.text,
    remark pg_catalog.text DEFAULT '') RETURNS pg_catalog.int4
  AS 'MODULE_PATHNAME', 'dtm_subscribe' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_subscribe(pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Adds a subscriber to a topic, which is made when it does not exist. Messages submitted after the
commit call it. Returns the number of subscribers. Errors: TD001 empty argument or bad URL, TD002
subscribed already.';

CREATE FUNCTION @extschema@.dtm_unsubscribe(topic pg_catalog.text, url pg_catalog.text)
  RETURNS pg_catalog.int4
  AS 'MODULE_PATHNAME', 'dtm_unsubscribe' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_unsubscribe(pg_catalog.text, pg_catalog.text) IS
'Removes a subscriber from a topic; the topic stays. Messages submitted before still call it.
Returns the number of subscribers left. Errors: TD001 empty argument, TD004 no such topic or
subscriber.';

CREATE FUNCTION @extschema@.dtm_drop_topic(topic pg_catalog.text) RETURNS pg_catalog.int4
  AS 'MODULE_PATHNAME', 'dtm_drop_topic' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_drop_topic(pg_catalog.text) IS
'Removes a topic with its subscribers; returns how many it had. Errors: TD001 empty name, TD004 no
such topic.';

CREATE FUNCTION @extschema@.dtm_grant(role pg_catalog.regrole, level pg_catalog.text)
  RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_grant' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_grant(pg_catalog.regrole, pg_catalog.text) IS
'Gives a role the rights of a level, by GRANT: submit (submit, and see one''s own transactions),
observe (see those of all roles, dtm_check), admin (observe, and retry, stop, manage topics).
Levels add up. Error: TD001 unknown level.';

CREATE FUNCTION @extschema@.dtm_revoke(role pg_catalog.regrole) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_revoke' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_revoke(pg_catalog.regrole) IS
'Takes back all that dtm_grant() gave to a role, of every level.';

REVOKE ALL ON FUNCTION
  @extschema@.dtm_retry_now(pg_catalog.text),
  @extschema@.dtm_force_stop(pg_catalog.text),
  @extschema@.dtm_subscribe(pg_catalog.text, pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_unsubscribe(pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_drop_topic(pg_catalog.text),
  @extschema@.dtm_grant(pg_catalog.regrole, pg_catalog.text),
  @extschema@.dtm_revoke(pg_catalog.regrole)
FROM PUBLIC;
-- The end of the script: nobody may execute anything, and the launcher hears of us at COMMIT.

CREATE FUNCTION dtm.installed() RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_installed' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dtm.installed() IS
'Internal: has the launcher look at this database when the transaction commits.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA dtm FROM PUBLIC;

SELECT dtm.installed();
