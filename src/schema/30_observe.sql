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
