-- dtm_abort: only what is prepared, and not every type (dtm-compat.md 5.2). See tcc.sql for tcc.
SELECT dtm_prepare('{"gid": "a1", "trans_type": "msg", "query_prepared": "http://q/",
  "steps": [{"action": "http://a/"}], "payloads": [""]}');
BEGIN;
SELECT dtm_abort('a1', 'changed my mind');
SELECT status, rollback_reason, rollback_time IS NOT NULL AS rolled_back, next_cron_time FROM
  dtm.transaction WHERE gid = 'a1';
ROLLBACK;
SELECT status FROM dtm.transaction WHERE gid = 'a1';
SELECT dtm_abort(gid => 'a1');
SELECT dtm_wait('a1');
SELECT branch_id, op, status, may_have_run FROM dtm.branch WHERE gid = 'a1';
SELECT * FROM refused($$SELECT dtm_abort('a1')$$);

SELECT dtm_prepare('{"gid": "a2", "trans_type": "saga", "steps": [{"action": "http://a/"}],
  "payloads": [""]}');
SELECT * FROM refused($$SELECT dtm_abort('a2')$$);
SELECT dtm_prepare('{"gid": "a3", "trans_type": "workflow", "custom_data": "{\"name\": \"n\"}"}');
SELECT * FROM refused($$SELECT dtm_abort('a3')$$);
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], 'a4', '{"delay": 3600}');
SELECT * FROM refused($$SELECT dtm_abort('a4')$$);
SELECT * FROM refused($$SELECT dtm_abort('unknown')$$);
SELECT * FROM refused($$SELECT dtm_abort(NULL)$$);
BEGIN READ ONLY;
SELECT * FROM refused($$SELECT dtm_abort('a2')$$);
ROLLBACK;

-- One that is paused can be aborted; it stays paused until somebody resumes it.
SELECT dtm_prepare('{"gid": "a5", "trans_type": "tcc"}');
SELECT dtm_pause('a5');
SELECT dtm_abort('a5');
SELECT status, attention ~ '^paused by' AS paused, next_cron_time FROM dtm.transaction
 WHERE gid = 'a5';
SELECT dtm_resume('a5');
SELECT dtm_wait('a5');

SELECT dtm_force_stop(gid) FROM dtm.transaction WHERE gid ~ '^a[234]$';
DELETE FROM dtm.trans WHERE gid ~ '^a\d$';
