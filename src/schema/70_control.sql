-- What operators ordered, what they did, and whose database this is.

-- Standing orders: kind pause (name '' is everything, else a host) or redirect (name: old prefix).
CREATE TABLE dtm.control (
  kind    pg_catalog.text COLLATE "C" NOT NULL,
  name    pg_catalog.text COLLATE "C" NOT NULL,
  value   pg_catalog.text,
  reason  pg_catalog.text,
  role    pg_catalog.text NOT NULL,
  time    pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT control_pkey PRIMARY KEY (kind, name)
);
COMMENT ON TABLE dtm.control IS
  'Standing orders of operators: dtm_pause() of everything or of a host, dtm_redirect().';
COMMENT ON COLUMN dtm.control.kind IS 'pause or redirect.';
COMMENT ON COLUMN dtm.control.name IS
  'pause: the host, empty for everything; redirect: the prefix of URLs that is replaced.';
COMMENT ON COLUMN dtm.control.value IS 'redirect: the prefix that replaces it.';
COMMENT ON COLUMN dtm.control.reason IS 'What the operator gave as reason.';
COMMENT ON COLUMN dtm.control.role IS 'Who ordered it.';
COMMENT ON COLUMN dtm.control.time IS 'When.';

-- One row per order given, whoever gave it. Removed with dtm.retention. The clock is no key: two
-- sessions may give an order in the same microsecond.
CREATE TABLE dtm.event (
  gid     pg_catalog.text COLLATE "C" NOT NULL,
  time    pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  verb    pg_catalog.text COLLATE "C" NOT NULL,
  role    pg_catalog.text NOT NULL,
  detail  pg_catalog.text,
  id      pg_catalog.uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
  CONSTRAINT event_pkey PRIMARY KEY (gid, time, id)
);
COMMENT ON TABLE dtm.event IS 'What operators did, by hand: one row for each order.';
COMMENT ON COLUMN dtm.event.gid IS
  'Transaction; empty for orders about hosts, topics, several transactions or everything.';
COMMENT ON COLUMN dtm.event.time IS 'When.';
COMMENT ON COLUMN dtm.event.verb IS
  'pause, resume, skip, redirect, force_stop, retry_now, retry_all, adopt, import, subscribe, '
  'unsubscribe or drop_topic.';
COMMENT ON COLUMN dtm.event.role IS 'Who: the session''s user; over HTTP dtm.api_role.';
COMMENT ON COLUMN dtm.event.detail IS
  'Which host, branch, prefix or topic, how many, and the reason given.';
COMMENT ON COLUMN dtm.event.id IS 'Tells orders of the same microsecond apart.';

-- Whose transactions these are (P15). No key: a dump that is restored adds its row to ours.
CREATE TABLE dtm.identity (
  system_identifier  pg_catalog.int8 NOT NULL,
  database           pg_catalog.oid NOT NULL,
  timeline           pg_catalog.int8 NOT NULL,
  installed          pg_catalog.timestamptz NOT NULL,
  adopted            pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE dtm.identity IS
  'The server and database that this database''s transactions belong to (P15). A row of another '
  'one makes the coordinator silent until dtm_adopt().';
COMMENT ON COLUMN dtm.identity.system_identifier IS 'Of the server, as pg_control_system() says.';
COMMENT ON COLUMN dtm.identity.database IS 'OID of the database.';
COMMENT ON COLUMN dtm.identity.timeline IS 'Of the server''s WAL when its coordinator last ran.';
COMMENT ON COLUMN dtm.identity.installed IS
  'When the extension came here; transactions that are older came from elsewhere.';
COMMENT ON COLUMN dtm.identity.adopted IS 'When this row was written.';

-- Rows are replaced; in a publication of all tables that takes a replica identity.
ALTER TABLE dtm.identity REPLICA IDENTITY FULL;

SELECT pg_catalog.pg_extension_config_dump('dtm.control', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.event', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.identity', '');
REVOKE ALL ON TABLE dtm.control, dtm.event, dtm.identity FROM PUBLIC;

-- Finished transactions by age, for retention. finish_time and rollback_time are written once, so
-- that no other update pays for it.
CREATE INDEX trans_finished ON dtm.trans ((COALESCE(finish_time, rollback_time)))
  WHERE COALESCE(finish_time, rollback_time) IS NOT NULL;

CREATE FUNCTION @extschema@.dtm_pause(gid pg_catalog.text DEFAULT NULL,
    host pg_catalog.text DEFAULT NULL, reason pg_catalog.text DEFAULT NULL,
    everything pg_catalog.bool DEFAULT false) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_pause' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION
  @extschema@.dtm_pause(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'Stops calls, durably, when this transaction commits: of one transaction (gid), to one host (host,
e.g. http://stock:8080), or all of them (everything => true). Submits go on. A call of a paused
transaction that is under way is forgotten and made again after dtm_resume(); calls to a paused host
that are under way are waited for. Calls that stand in line for a place (dtm.stat_endpoint.waiting)
are not made. dtm.attention lists what is kept back for longer than five seconds. Deadlines
(timeout_to_fail) do not wait: what is over by then is undone after dtm_resume(). Errors: TD001 none
or more than one of gid, host and everything is given, or no URL of a host, TD003 finished, paused
or put aside already, TD004 unknown gid.';

CREATE FUNCTION @extschema@.dtm_resume(gid pg_catalog.text DEFAULT NULL,
    host pg_catalog.text DEFAULT NULL, everything pg_catalog.bool DEFAULT false)
  RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_resume' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_resume(pg_catalog.text, pg_catalog.text, pg_catalog.bool) IS
'Takes back dtm_pause() with the same gid, host or everything. What waited for a host goes on within
ten seconds, 2000 a second where there are many. Errors: TD001 none or more than one of them is
given, TD003 it is not paused, TD004 unknown gid.';

CREATE FUNCTION @extschema@.dtm_retry_all() RETURNS pg_catalog.int8
  AS 'MODULE_PATHNAME', 'dtm_retry_all' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_retry_all() IS
'dtm_retry_now() for all transactions that one may see and that wait for their next attempt, when a
service that was down is back. Left as they are: what is finished, paused, put aside or delayed, and
rows that somebody else is changing. Returns how many are taken up when this transaction commits.
Error: 25006 read-only transaction or standby.';

CREATE FUNCTION @extschema@.dtm_skip(gid pg_catalog.text, branch_id pg_catalog.text,
    reason pg_catalog.text DEFAULT NULL) RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_skip' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_skip(pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Counts the open operation of a branch as succeeded, without a further call: its action, or while
the transaction is undone its compensation. For work that a person has done by hand. Returns the
operation. Errors: TD001 no such branch, or a step of a workflow, TD003 finished, or nothing of the
branch is open, TD004 unknown gid.';

CREATE FUNCTION @extschema@.dtm_redirect(old_prefix pg_catalog.text, new_prefix pg_catalog.text,
    reason pg_catalog.text DEFAULT NULL) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_redirect' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_redirect(pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'From now on, URLs that begin with old_prefix are called with new_prefix in its place, the longest
prefix first; requests stay as they are. Where one of the two ends with a host, the host ends there:
http://old is the beginning of http://old/x and not of http://older/x; http://old:81/x, too, if
neither has a port. Calls under way end where they are, those that stand in line go to the new
place. new_prefix NULL takes the redirection back. Errors: TD001 not a URL, or old_prefix ends with
a slash and new_prefix with a host, TD004 nothing to take back.';

CREATE FUNCTION @extschema@.dtm_adopt() RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_adopt' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_adopt() IS
'Makes the transactions of this database its own: after a dump was restored, a database or server
copied, or a backup recovered, nobody is called before it (P15). Be sure that the original does not
run any more, or has other services. Returns what kept the coordinator silent, or NULL. Error:
TD003 nothing did.';

CREATE FUNCTION dtm.own_identity(fresh pg_catalog.bool) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_own_identity' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dtm.own_identity(pg_catalog.bool) IS
'Internal: writes the first row of dtm.identity. fresh: transactions from before came from
elsewhere.';

CREATE FUNCTION dtm.endpoints(OUT database pg_catalog.oid, OUT worker pg_catalog.int4,
    OUT endpoint pg_catalog.text, OUT breaker pg_catalog.text, OUT in_flight pg_catalog.int4,
    OUT waiting pg_catalog.int4, OUT calls pg_catalog.int8, OUT errors pg_catalog.int8,
    OUT deferred pg_catalog.int8, OUT errors_in_a_row pg_catalog.int4,
    OUT next_probe pg_catalog.interval, OUT mean_time pg_catalog.interval,
    OUT last_error pg_catalog.text)
  RETURNS SETOF pg_catalog.record
  AS 'MODULE_PATHNAME', 'dtm_endpoints' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION dtm.endpoints() IS
'Internal: the hosts that coordinators call, from shared memory. Read dtm.stat_endpoint.';

CREATE VIEW dtm.stat_endpoint AS
  SELECT d.datname, e.worker, e.endpoint, e.breaker, e.in_flight, e.waiting, e.calls, e.errors,
         e.deferred, e.errors_in_a_row, e.next_probe, e.mean_time, e.last_error
    FROM dtm.endpoints() e
    LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) e.database;
COMMENT ON VIEW dtm.stat_endpoint IS
  'The hosts that the coordinators call, since they started: at most 64 each, those with trouble '
  'first, at most some seconds old.';
COMMENT ON COLUMN dtm.stat_endpoint.datname IS 'Database of the coordinator.';
COMMENT ON COLUMN dtm.stat_endpoint.worker IS 'Its slice of the gids, from 0.';
COMMENT ON COLUMN dtm.stat_endpoint.endpoint IS 'Scheme, host and port.';
COMMENT ON COLUMN dtm.stat_endpoint.breaker IS
  'Circuit breaker: closed (calls leave), open (none does), half_open (one does, to try; without '
  'an answer in five seconds it counts as failed).';
COMMENT ON COLUMN dtm.stat_endpoint.in_flight IS 'Calls that are not answered yet.';
COMMENT ON COLUMN dtm.stat_endpoint.waiting IS
  'Calls that wait for a place (dtm.max_in_flight_per_host).';
COMMENT ON COLUMN dtm.stat_endpoint.calls IS 'Calls that ended, answered or not.';
COMMENT ON COLUMN dtm.stat_endpoint.errors IS 'Of them, those without an answer.';
COMMENT ON COLUMN dtm.stat_endpoint.deferred IS
  'Calls that were sent back to the table: by the circuit breaker, or because too many wait for a '
  'host that does not keep up.';
COMMENT ON COLUMN dtm.stat_endpoint.errors_in_a_row IS
  'Calls without an answer since the last answer.';
COMMENT ON COLUMN dtm.stat_endpoint.next_probe IS 'How long until the next try, when open.';
COMMENT ON COLUMN dtm.stat_endpoint.mean_time IS 'Mean time of answers, recent ones weigh most.';
COMMENT ON COLUMN dtm.stat_endpoint.last_error IS 'Why the last call without an answer had none.';
REVOKE ALL ON TABLE dtm.stat_endpoint FROM PUBLIC;

-- What is kept back is new in the views of before.
COMMENT ON VIEW dtm.attention IS
  'Unfinished transactions that need a person (P1): put aside, failing again and again, kept back '
  'by the circuit breaker of their host, by a pause for longer than five seconds or by a slow host '
  'for longer than a minute, or due for long while nobody works on them.';
COMMENT ON COLUMN dtm.transaction.last_error IS
  'Last answer of a branch that was not a success, and why it is not called now, if it is not.';
COMMENT ON COLUMN dtm.branch.last_error IS
  'Last answer that was not a success, and why it is not called now, if it is not.';

COMMENT ON FUNCTION @extschema@.dtm_retry_now(pg_catalog.text) IS
'Has a transaction that waits for its next attempt, or was put aside, taken up when this
transaction commits. Attempts are kept. Returns false, and changes nothing, when no retry was
waiting (it is due already, or delayed by its submit). Errors: TD001 gid is NULL, TD003 finished,
or paused (dtm_resume), TD004 unknown gid.';

-- NULL is an error (TD001), as it is for the other verbs.
ALTER FUNCTION @extschema@.dtm_retry_now(pg_catalog.text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.dtm_force_stop(pg_catalog.text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.dtm_grant(pg_catalog.regrole, pg_catalog.text) CALLED ON NULL INPUT;
ALTER FUNCTION @extschema@.dtm_revoke(pg_catalog.regrole) CALLED ON NULL INPUT;

COMMENT ON FUNCTION @extschema@.dtm_force_stop(pg_catalog.text) IS
'Gives a transaction up: its status becomes failed when this transaction commits, and nothing more
is called, no compensation either. What its branches have done must be put right by hand. Returns
the new status. Errors: TD001 gid is NULL, TD003 finished, TD004 unknown gid.';
COMMENT ON FUNCTION @extschema@.dtm_subscribe(pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Adds a subscriber to a topic, which is made when it does not exist. Messages submitted after the
commit call it. Returns the number of subscribers. Errors: TD001 empty or too long argument (a topic
has at most 255 bytes, a remark 4096) or bad URL, TD002 subscribed already.';

REVOKE ALL ON FUNCTION
  @extschema@.dtm_pause(pg_catalog.text, pg_catalog.text, pg_catalog.text, pg_catalog.bool),
  @extschema@.dtm_resume(pg_catalog.text, pg_catalog.text, pg_catalog.bool),
  @extschema@.dtm_retry_all(),
  @extschema@.dtm_skip(pg_catalog.text, pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_redirect(pg_catalog.text, pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_adopt(), dtm.own_identity(pg_catalog.bool), dtm.endpoints()
FROM PUBLIC;
