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
