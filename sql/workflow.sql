-- A workflow: its client does the steps and has them recorded, and says how it ended.
SELECT dtm_prepare('{"gid": "w1", "trans_type": "workflow", "query_prepared": "http://w/",
  "custom_data": "{\"name\": \"transfer\", \"data\": \"YQ==\"}", "retry_interval": 3000}');
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "01",
  "op": "action", "status": "succeed", "data": "result"}');
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "02",
  "op": "action", "status": "failed", "data": "no money"}');
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "01",
  "op": "rollback", "status": "succeed"}');
-- A step is recorded once, whoever does it: two executors must not both go on.
SELECT * FROM refused($$SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow",
  "branch_id": "01", "op": "action", "status": "succeed", "data": "result"}')$$);
SELECT * FROM refused($$SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow",
  "branch_id": "03", "op": "action", "status": "done"}')$$);
SELECT branch_id, op, status, url FROM dtm.branch WHERE gid = 'w1';
SELECT b->>'branch_id' AS branch_id, b->>'op' AS op, b->>'status' AS status, b->>'bin_data' AS data
  FROM jsonb_array_elements(dtm_query('w1')->'branches') b;
SELECT dtm_query('w1')->'transaction'->>'custom_data' AS custom_data;
SELECT regexp_replace(regexp_replace(line, 'age .*', 'age ...'), 'in \d+ .*', 'in SOME TIME') FROM
  dtm_explain('w1') line;

SELECT * FROM refused($$SELECT dtm_skip('w1', '01')$$);

-- Its end counts when the transaction commits.
BEGIN;
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow",
  "req_extra": {"status": "succeed", "result": "b2s="}}');
ROLLBACK;
SELECT status FROM dtm.transaction WHERE gid = 'w1';
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow",
  "req_extra": {"status": "done"}}')$$);
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow",
  "req_extra": {"status": "failed", "result": "bm8=", "rollback_reason": "no money"}}');
SELECT dtm_wait('w1');
SELECT status, result, rollback_reason, finish_time IS NULL AS unfinished, rollback_time IS NOT NULL
  AS rolled_back, next_cron_time FROM dtm.transaction WHERE gid = 'w1';
SELECT regexp_replace(regexp_replace(line, 'age .*', 'age ...'), 'at \d.*;', 'at SOME TIME;') FROM
  dtm_explain('w1') line;
-- Once.
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow",
  "req_extra": {"status": "failed"}}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "w9", "trans_type": "workflow",
  "req_extra": {"status": "succeed"}}')$$);
SELECT * FROM refused($$SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow",
  "branch_id": "03", "op": "action", "status": "succeed"}')$$);

DELETE FROM dtm.trans WHERE gid = 'w1';
DELETE FROM dtm.trans_branch WHERE gid = 'w1';
