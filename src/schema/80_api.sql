-- What the clients of dtm need beside saga and msg: branches that are registered one by one (tcc,
-- xa, workflow), and the SQL doors of prepare, abort and registerBranch.

CREATE TABLE dtm.trans_branch (
  gid          pg_catalog.text COLLATE "C" NOT NULL,
  branch_id    pg_catalog.text COLLATE "C" NOT NULL,
  op           pg_catalog.text COLLATE "C" NOT NULL DEFAULT '',
  url          pg_catalog.text NOT NULL DEFAULT '',
  cancel       pg_catalog.text NOT NULL DEFAULT '',
  status       pg_catalog.text NOT NULL DEFAULT 'prepared',
  data         pg_catalog.bytea NOT NULL DEFAULT '',
  create_time  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT trans_branch_pkey PRIMARY KEY (gid, branch_id, op)
)
-- Inserted once, read by gid, deleted with the transaction: vacuum comes as often as to dtm.trans.
WITH (
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);
DO $do$
BEGIN
  IF pg_catalog.current_setting('server_version_num')::pg_catalog.int4
     OPERATOR(pg_catalog.>=) 140000 THEN
    EXECUTE 'ALTER TABLE dtm.trans_branch ALTER COLUMN data SET COMPRESSION lz4';
  END IF;
EXCEPTION WHEN feature_not_supported THEN
  NULL;
END
$do$;
COMMENT ON TABLE dtm.trans_branch IS
  'Registered branches of tcc and xa, finished steps of workflows: one row each. Written by the '
  'functions of dtm_pg only; read dtm.branch.';
COMMENT ON COLUMN dtm.trans_branch.gid IS 'Global id of the transaction.';
COMMENT ON COLUMN dtm.trans_branch.branch_id IS 'Id of the branch, the client''s choice.';
COMMENT ON COLUMN dtm.trans_branch.op IS
  'workflow: which operation of the branch; tcc, xa: empty, one row stands for both operations.';
COMMENT ON COLUMN dtm.trans_branch.url IS
  'tcc: confirm; xa: commit and rollback; workflow: empty.';
COMMENT ON COLUMN dtm.trans_branch.cancel IS 'tcc: cancel; else empty.';
COMMENT ON COLUMN dtm.trans_branch.status IS
  'workflow: succeed or failed, as the client said. tcc, xa: prepared for ever; what became of the '
  'calls is in dtm.trans.progress.';
COMMENT ON COLUMN dtm.trans_branch.data IS
  'tcc, xa: body of the calls; workflow: result of the step.';
COMMENT ON COLUMN dtm.trans_branch.create_time IS 'When it was registered; the branches'' order.';
SELECT pg_catalog.pg_extension_config_dump('dtm.trans_branch', '');
REVOKE ALL ON TABLE dtm.trans_branch FROM PUBLIC;

-- The list of transactions, newest first.
CREATE INDEX trans_created ON dtm.trans (create_time);

COMMENT ON COLUMN dtm.trans.trans_type IS 'saga, msg, tcc, xa or workflow.';
COMMENT ON COLUMN dtm.trans.owner IS 'The role that prepared or submitted it.';
COMMENT ON COLUMN dtm.trans.request IS
  'Steps, payloads and options: JSON text. The submit of a prepared one may change the options.';
COMMENT ON COLUMN dtm.trans.progress IS
  'What happened to each branch: JSON text. NULL: nothing written but by its client, every action '
  'may have run; or, with status succeed, every action succeeded at its first call.';
COMMENT ON COLUMN dtm.trans.create_time IS
  'When it was prepared or submitted, by the clock of the database.';
COMMENT ON COLUMN dtm.trans.next_cron_time IS
  'When the coordinator looks at it by itself. NULL: never (finished, put aside, or a saga that is '
  'prepared only).';
COMMENT ON COLUMN dtm.trans.result IS 'Result of a workflow, as its client gave it.';
COMMENT ON COLUMN dtm.transaction.trans_type IS 'saga, msg, tcc, xa or workflow.';
COMMENT ON COLUMN dtm.transaction.owner IS 'The role that prepared or submitted it.';
COMMENT ON COLUMN dtm.transaction.create_time IS 'When it was prepared or submitted.';
COMMENT ON COLUMN dtm.transaction.next_cron_time IS
  'When the coordinator looks at it by itself. NULL: never (finished, put aside, or a saga that is '
  'prepared only).';
COMMENT ON COLUMN dtm.transaction.result IS 'Result of a workflow, as its client gave it.';
COMMENT ON VIEW dtm.branch IS
  'Branch operations of the transactions in dtm.transaction, in dtm''s order: of each branch the '
  'operation that undoes it, then the one that does it. Derived from the row; of a running '
  'transaction it shows what was last written, not each call.';
COMMENT ON COLUMN dtm.branch.branch_id IS
  'Number of the branch, from 01; tcc, xa and workflow: the client''s choice. 00 is the '
  'transaction itself.';
COMMENT ON COLUMN dtm.branch.op IS
  'saga: compensate, action; msg: action; tcc: cancel, confirm; xa: rollback, commit; workflow: '
  'what its client registered. Of branch 00: msg (the question whether to send it), or the name '
  'of the workflow (the call that has it go on).';
COMMENT ON COLUMN dtm.attention.trans_type IS 'saga, msg, tcc, xa or workflow.';
COMMENT ON COLUMN dtm.attention.create_time IS 'When it was prepared or submitted.';

CREATE FUNCTION @extschema@.dtm_prepare(request pg_catalog.jsonb) RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_prepare' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(pg_catalog.jsonb) IS
'Stores a global transaction with status prepared: nothing is called before it is submitted, by
dtm_submit() or over HTTP. The argument is the body that dtm''s HTTP prepare takes: trans_type
(saga, msg, tcc, xa, workflow), gid, options, and for saga and msg steps and payloads. Returns the
gid; a gid is made when none is given. When timeout_to_fail is over (default dtm.timeout_to_fail), a
msg asks its query_prepared and a tcc or xa is rolled back. A second dtm_prepare of a prepared gid
with the same request returns the gid. Errors: TD001 the request is wrong (DETAIL names the field by
JSON path), TD002 the gid is in use by another request, TD003 it is not prepared any more, 25006
read-only transaction or standby.';

CREATE FUNCTION @extschema@.dtm_abort(gid pg_catalog.text, reason pg_catalog.text DEFAULT NULL)
  RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_abort' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_abort(pg_catalog.text, pg_catalog.text) IS
'Gives up a transaction that is prepared: a msg fails, of a tcc or xa all branches are rolled back.
Takes effect when this transaction commits. reason becomes its rollback_reason. Returns the new
status: failed or aborting. A tcc or xa that is aborting already is tried again at once. Errors:
TD001 gid is NULL, TD003 it is submitted or finished, or cannot be aborted (saga, workflow), TD004
unknown gid, 25006 read-only transaction or standby.';

CREATE FUNCTION @extschema@.dtm_register_branch(request pg_catalog.jsonb)
  RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_register_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(pg_catalog.jsonb) IS
'Adds a branch to a transaction that is prepared. The argument is the flat object that dtm''s HTTP
registerBranch takes: gid, trans_type, branch_id, data, and for a tcc confirm and cancel, for an xa
url, for a workflow op and status. Call it before the branch does its work. Until this transaction
ends, the global transaction can be neither submitted nor aborted. Returns true, or false when the
same branch of a tcc or xa was registered before. Errors: TD001 the request is wrong, TD002 the
branch is registered with other values, or a step of a workflow again, TD003 the transaction is not
prepared any more or of another type, TD004 unknown gid, 25006 read-only transaction or standby.';

COMMENT ON FUNCTION @extschema@.dtm_submit(pg_catalog.jsonb) IS
'Submits a global transaction as part of this transaction: when it commits, the coordinator drives
it to its end (P1); when it rolls back, nothing is called (P2). The argument is the body that
dtm''s HTTP submit takes: trans_type, gid, options, and for saga and msg steps and payloads; times
in seconds. Returns the gid; a gid is made when none is given. A transaction that was prepared,
here or over HTTP, becomes submitted: its steps are those of dtm_prepare() and may be left out, an
option that is given here replaces the prepared one. A workflow is ended: req_extra says how. A
second submit of an unfinished gid with the same request returns the gid. Errors: TD001 the request
is wrong (DETAIL names the field by JSON path), TD002 the gid is in use by another request or a
finished transaction, TD003 a workflow that is not prepared, 25006 read-only transaction or
standby.';
COMMENT ON FUNCTION
  @extschema@.dtm_submit(pg_catalog.text, pg_catalog.jsonb[], pg_catalog.text, pg_catalog.jsonb) IS
'Submits a global transaction as part of this transaction: when it commits, the coordinator drives
it to its end (P1); when it rolls back, nothing is called (P2). trans_type: saga or msg. steps:
made by dtm_step(). gid: NULL or an empty text has one made. options, a JSON object:
timeout_to_fail (seconds until a saga that has not succeeded is rolled back; default never),
retry_interval (seconds, default dtm.retry_interval), request_timeout (seconds per call, default
dtm.request_timeout), retry_limit (saga: so many repetitions at once, then it is rolled back;
default: retried for ever), concurrent (boolean: call all steps at the same time), delay (msg:
seconds before the first call), branch_headers (object: HTTP headers of every call), protocol (http
or json-rpc), exact_progress (boolean: write the row after every step). Returns the gid. Errors:
TD001, TD002, 25006 as the other form; JSON paths refer to the arguments, e.g. $.steps[1].action
(counted from 0).';
COMMENT ON FUNCTION @extschema@.dtm_grant(pg_catalog.regrole, pg_catalog.text) IS
'Gives a role the rights of a level, by GRANT: submit (prepare, submit, abort, and see one''s own
transactions), observe (see those of all roles, with payloads and headers, and dtm_check), admin
(observe, and retry, stop, pause, skip, redirect, adopt, import, purge, manage topics: who has it
can send payloads elsewhere), barrier (the functions of a participant). Levels add up. Errors: TD001
unknown level, or an argument is NULL.';
COMMENT ON FUNCTION @extschema@.dtm_revoke(pg_catalog.regrole) IS
'Takes back all that dtm_grant() gave to a role, of every level, but USAGE on the schema of these
functions where the role did not have it before. Error: TD001 role is NULL.';

REVOKE ALL ON FUNCTION
  @extschema@.dtm_prepare(pg_catalog.jsonb),
  @extschema@.dtm_abort(pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_register_branch(pg_catalog.jsonb)
FROM PUBLIC;
