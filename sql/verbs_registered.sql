-- The operator's verbs on transactions whose branches are registered.
CREATE FUNCTION tcc(gid text) RETURNS void LANGUAGE sql AS $$
  SELECT dtm_prepare(jsonb_build_object('gid', gid, 'trans_type', 'tcc', 'retry_interval', 3000));
  SELECT dtm_register_branch(jsonb_build_object('gid', gid, 'trans_type', 'tcc',
    'branch_id', branch, 'confirm', 'http://127.0.0.1:1/', 'cancel', 'http://127.0.0.1:1/'))
    FROM unnest('{01,02}'::text[]) branch $$;

-- Nothing is open before the decision.
SELECT tcc('v1');
SELECT * FROM refused($$SELECT dtm_skip('v1', '01')$$);
-- Each open operation is taken over by a person; the last one first.
SELECT dtm_submit('{"gid": "v1", "trans_type": "tcc"}');
SELECT dtm_wait('v1', '100 ms');
SELECT dtm_skip('v1', '02', 'by telephone'), dtm_skip('v1', '01');
SELECT dtm_wait('v1');
SELECT branch_id, op, status FROM dtm.branch WHERE gid = 'v1';
SELECT verb, regexp_replace(detail, 'role \S+', 'role ME') FROM dtm.event WHERE gid = 'v1' ORDER BY
  time;

SELECT tcc('v2');
SELECT dtm_abort('v2', 'no money');
SELECT dtm_skip('v2', '02');
SELECT dtm_wait('v2', '100 ms');
SELECT branch_id, op, status FROM dtm.branch WHERE gid = 'v2';
SELECT dtm_force_stop('v2');
SELECT status, rollback_reason FROM dtm.transaction WHERE gid = 'v2';

-- Paused while it waits for its client, who goes on all the same.
SELECT tcc('v3');
SELECT dtm_pause('v3');
SELECT dtm_register_branch('{"gid": "v3", "trans_type": "tcc", "branch_id": "03"}');
SELECT dtm_submit('{"gid": "v3", "trans_type": "tcc", "retry_interval": 3000}');
SELECT status, attention ~ '^paused by' AS paused, next_cron_time FROM dtm.transaction
 WHERE gid = 'v3';
SELECT branch_id, op, attempts FROM dtm.branch WHERE gid = 'v3' AND op = 'confirm';
-- A saga that is prepared waits for nothing, paused or not.
SELECT dtm_prepare('{"gid": "v4", "trans_type": "saga", "steps": [{"action": ""}],
  "payloads": [""]}');
SELECT dtm_pause('v4'), dtm_resume('v4');
SELECT status, attention, next_cron_time FROM dtm.transaction WHERE gid = 'v4';
SELECT dtm_force_stop('v4');

SELECT dtm_force_stop('v3');
DELETE FROM dtm.trans WHERE gid ~ '^v\d$';
DELETE FROM dtm.trans_branch WHERE gid ~ '^v\d$';
DELETE FROM dtm.event WHERE gid ~ '^v\d$';
DROP FUNCTION tcc;
