-- dtm_retry_now and dtm_force_stop.
CREATE VIEW a_row AS SELECT gid, status, version, next_cron_time <= clock_timestamp() AS due,
  attention, rollback_reason,
  rollback_time IS NOT NULL AS rolled_back FROM dtm.trans WHERE gid ~ '^o\d$';

-- A row that waits for its next attempt becomes due; attempts and errors are kept.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:1/', '')], 'o1');
UPDATE dtm.trans SET
  progress = '{"b":[{"r":1,"a":{"n":5,"e":5,"t":4102444800000000,"l":"connection refused"}}]}',
  next_cron_time = '2100-01-01 00:00+00' WHERE gid = 'o1';
SELECT dtm_retry_now('o1');
SELECT * FROM a_row;
SELECT op, attempts, errors, next_time <= clock_timestamp() AS due FROM dtm.branch WHERE gid = 'o1';
-- It is due: there is nothing left to do.
SELECT dtm_retry_now('o1');
ROLLBACK;

-- One that was put aside is taken up again, also when it cannot be read.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], 'o2');
UPDATE dtm.trans SET attention = 'broken', next_cron_time = NULL, request = 'broken' WHERE gid =
  'o2';
SELECT dtm_retry_now('o2');
SELECT * FROM a_row;
ROLLBACK;

-- All that wait at once: those that one may see, whatever the others are doing.
CREATE ROLE regress_dtm_owner;
CREATE ROLE regress_dtm_admin;
SELECT dtm_grant('regress_dtm_owner', 'submit'), dtm_grant('regress_dtm_admin', 'admin');
GRANT EXECUTE ON FUNCTION dtm_retry_all() TO regress_dtm_owner;
BEGIN;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/')], 'o' || n,
  CASE n WHEN 5 THEN '{"delay": 3600}'::jsonb END) FROM generate_series(1, 6) n;
UPDATE dtm.trans SET next_cron_time = '2100-01-01 00:00+00',
  progress = '{"b":[{"r":1,"a":{"n":2,"e":2,"t":4102444800000000,"l":"connection refused"}}]}'
 WHERE gid IN ('o1', 'o2', 'o3', 'o4', 'o6');
UPDATE dtm.trans SET owner = 'regress_dtm_owner' WHERE gid = 'o1';
SELECT dtm_pause('o3');
UPDATE dtm.trans SET attention = 'broken', next_cron_time = NULL WHERE gid = 'o4';
SELECT dtm_force_stop('o6');
SET LOCAL ROLE regress_dtm_owner;
SELECT dtm_retry_all();
SET LOCAL ROLE regress_dtm_admin;
SELECT dtm_retry_all(), dtm_retry_all() AS again;
RESET ROLE;
SELECT gid, status, version, due, attention IS NOT NULL AS aside FROM a_row ORDER BY gid;
SELECT gid, attempts, errors, next_time <= clock_timestamp() AS due FROM dtm.branch
 WHERE gid IN ('o1', 'o2');
SELECT gid, role = session_user AS mine, detail FROM dtm.event WHERE verb = 'retry_all'
 ORDER BY time;
ROLLBACK;
BEGIN TRANSACTION READ ONLY;
SELECT dtm_retry_all();
ROLLBACK;
SELECT dtm_revoke('regress_dtm_owner'), dtm_revoke('regress_dtm_admin');
REVOKE EXECUTE ON FUNCTION dtm_retry_all() FROM regress_dtm_owner;
DROP ROLE regress_dtm_owner, regress_dtm_admin;

-- A delay is a wish of the submitter: a retry does not cut it short.
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], 'o3', '{"delay": 3600}');
SELECT dtm_retry_now('o3');

-- Stopping ends a transaction, whatever state it is in; rolling back the verb takes it back.
BEGIN;
SELECT dtm_force_stop('o3');
ROLLBACK;
SELECT status, version FROM dtm.trans WHERE gid = 'o3';
SELECT dtm_force_stop('o3');
SELECT gid, status, version, due, attention, regexp_replace(rollback_reason, 'role .*', 'role ME')
  AS rollback_reason,
       rolled_back FROM a_row;
SELECT status FROM dtm.branch WHERE gid = 'o3';
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], 'o4');
UPDATE dtm.trans SET request = 'broken', attention = 'broken', next_cron_time = NULL WHERE gid =
  'o4';
SELECT dtm_force_stop('o4');
SELECT * FROM dtm.attention WHERE gid = 'o4';
ROLLBACK;

SELECT * FROM refused($$SELECT dtm_force_stop('o3')$$);
SELECT * FROM refused($$SELECT dtm_retry_now('o3')$$);
SELECT * FROM refused($$SELECT dtm_force_stop('unknown')$$);
SELECT * FROM refused($$SELECT dtm_retry_now('unknown')$$);

-- A NULL is a mistake, never nothing.
SELECT * FROM refused($$SELECT dtm_retry_now(NULL)$$);
SELECT * FROM refused($$SELECT dtm_force_stop(NULL)$$);
SELECT * FROM refused($$SELECT dtm_grant(NULL, 'submit')$$);
SELECT * FROM refused($$SELECT dtm_grant(current_user::regrole, NULL)$$);
SELECT * FROM refused($$SELECT dtm_revoke(NULL)$$);

-- Where nothing can be written every verb says the same.
SELECT function, said FROM unnest(ARRAY['dtm_retry_now(''o3'')', 'dtm_retry_all()',
  'dtm_force_stop(''o3'')', 'dtm_skip(''o3'', ''01'')', 'dtm_pause(everything => true)',
  'dtm_resume(everything => true)', 'dtm_redirect(''http://a'', ''http://b'')',
  'dtm_subscribe(''t'', ''http://a/'')', 'dtm_unsubscribe(''t'', ''http://a/'')',
  'dtm_drop_topic(''t'')', 'dtm_adopt()']) function,
  refused('SET LOCAL transaction_read_only = on; SELECT ' || function) said;

DROP VIEW a_row;
DELETE FROM dtm.trans WHERE gid ~ '^o\d$';
