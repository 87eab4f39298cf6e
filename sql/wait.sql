-- dtm_wait returns the final status.
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], 'w1');
SELECT dtm_wait('w1', '60 s');
SELECT branch_id, op, status, attempts, finish_time IS NOT NULL AS finished, may_have_run FROM
  dtm.branch WHERE gid = 'w1';
SELECT status, next_cron_time, finish_time >= create_time AS finished, rollback_time, attention
  FROM dtm.transaction WHERE gid = 'w1';
-- At once when it is finished already; in every isolation level.
SELECT dtm_wait('w1', '0 s'), dtm_wait('w1', NULL), dtm_wait(NULL) IS NULL AS "null";
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT dtm_wait('w1');
COMMIT;

-- A step that nobody answers, and no more time for it: rolled back.
SELECT dtm_submit('saga', ARRAY[dtm_step('', ''), dtm_step('http://127.0.0.1:1/', '')], 'w2',
  '{"timeout_to_fail": 1}');
SELECT dtm_wait('w2', '60 s');
SELECT status, rollback_reason, finish_time, rollback_time IS NOT NULL AS finished FROM
  dtm.transaction WHERE gid = 'w2';
SELECT branch_id, op, status, may_have_run FROM dtm.branch WHERE gid = 'w2';
-- The client is told at once when the time is over.
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], 'w3', '{"delay": 3600}');
SELECT dtm_wait('w3', '0 s') IS NULL AS "still waiting", dtm_wait('w3', '-1 s') IS NULL AS
  "also here";
SELECT dtm_wait('w3', '20 ms') IS NULL AS "still waiting";

BEGIN;
SELECT dtm_submit('msg', ARRAY[dtm_step('')], 'w4');
SELECT * FROM refused($$SELECT dtm_wait('w4')$$);
ROLLBACK;
SELECT * FROM refused($$SELECT dtm_wait('w4')$$);
-- It can be interrupted.
SET statement_timeout = '100 ms';
SELECT dtm_wait('w3');
RESET statement_timeout;

SELECT dtm_force_stop('w3');
DELETE FROM dtm.trans WHERE gid ~ '^w\d$';
