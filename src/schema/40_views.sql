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
