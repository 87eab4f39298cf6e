-- tcc and xa: branches are registered one by one, then all are confirmed (committed), or all are
-- cancelled (rolled back). Here without addresses: such a branch succeeds without a call.
CREATE VIEW a_row AS SELECT gid, status, version, progress, rollback_reason, finish_time IS NOT NULL
  AS finished, rollback_time IS NOT NULL AS rolled_back FROM dtm.trans WHERE gid ~ '^t\d$';
CREATE FUNCTION register(gid text, branch text, type text DEFAULT 'tcc', data text DEFAULT '{}')
  RETURNS boolean LANGUAGE sql AS $$
  SELECT dtm_register_branch(jsonb_build_object('gid', gid, 'trans_type', type,
    'branch_id', branch, 'data', data)) $$;

SELECT dtm_prepare('{"gid": "t1", "trans_type": "tcc"}');
SELECT dtm_register_branch('{"gid": "t1", "trans_type": "tcc", "branch_id": "01",
  "confirm": "", "cancel": null, "data": "{\"amount\": 30}", "status": "prepared"}');
SELECT register('t1', '02');
SELECT register('t1', '0');
SELECT gid, branch_id, op, url, cancel, status, data FROM dtm.trans_branch WHERE gid = 't1' ORDER BY
  create_time;
-- As dtm shows them: of each what undoes it comes first, in the order of registration.
SELECT branch_id, op, status, may_have_run FROM dtm.branch WHERE gid = 't1';
SELECT b->>'branch_id' AS branch_id, b->>'op' AS op, b->>'bin_data' AS data FROM
  jsonb_array_elements(dtm_query('t1')->'branches') b;
-- Twice is once (D28), unless it is another branch.
SELECT register('t1', '02');
SELECT * FROM refused($$SELECT register('t1', '02', data => 'other')$$);
-- Waiting for its client.
SELECT regexp_replace(regexp_replace(line, 'age .*', 'age ...'), 'in \d+ .*', 'in SOME TIME') FROM
  dtm_explain('t1') line;
SELECT dtm_submit('{"gid": "t1", "trans_type": "tcc"}');
SELECT dtm_wait('t1');
SELECT * FROM a_row WHERE gid = 't1';
SELECT branch_id, op, status, attempts, finish_time IS NOT NULL AS finished FROM dtm.branch
 WHERE gid = 't1';
SELECT regexp_replace(regexp_replace(line, 'age .*', 'age ...'), 'at \d.*', 'at SOME TIME') FROM
  dtm_explain('t1') line;
-- It is over.
SELECT * FROM refused($$SELECT register('t1', '04')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "t1", "trans_type": "tcc"}')$$);
SELECT * FROM refused($$SELECT dtm_abort('t1')$$);

-- All of it in one transaction: nothing is known outside of it before its end.
BEGIN;
SELECT dtm_prepare('{"gid": "t2", "trans_type": "xa"}'), register('t2', '01', 'xa'),
  dtm_submit('{"gid": "t2", "trans_type": "xa"}');
SELECT op, status FROM dtm.branch WHERE gid = 't2';
COMMIT;
SELECT dtm_wait('t2');
BEGIN;
SELECT dtm_prepare('{"gid": "t3", "trans_type": "tcc"}'), register('t3', '01');
SAVEPOINT s;
SELECT dtm_abort('t3', 'no money');
ROLLBACK TO s;
SELECT * FROM a_row WHERE gid = 't3';
SELECT register('t3', '02');
COMMIT;

-- Aborted: every branch is cancelled, and the reason is kept.
SELECT dtm_abort('t3', 'no money');
SELECT dtm_wait('t3');
SELECT gid, status, rollback_reason, finished, rolled_back FROM a_row WHERE gid = 't3';
SELECT branch_id, op, status, may_have_run FROM dtm.branch WHERE gid = 't3';
SELECT * FROM refused($$SELECT register('t3', '03')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "t3", "trans_type": "tcc"}')$$);
-- Again: it is being cancelled already.
SELECT dtm_prepare('{"gid": "t4", "trans_type": "xa"}');
SELECT dtm_register_branch('{"gid": "t4", "trans_type": "xa", "branch_id": "01",
  "url": "http://127.0.0.1:1/"}');
SELECT dtm_abort('t4', 'first'), dtm_abort('t4', 'second');
SELECT rollback_reason FROM a_row WHERE gid = 't4';
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "t4", "trans_type": "xa",
  "retry_interval": 7}')$$);
SELECT dtm_force_stop('t4');

-- Its client says nothing: time is over, and what was registered until then is cancelled.
SELECT dtm_prepare('{"gid": "t5", "trans_type": "tcc", "timeout_to_fail": 1}');
SELECT register('t5', '01');
SELECT dtm_wait('t5');
SELECT gid, status, rollback_reason, rolled_back FROM a_row WHERE gid = 't5';
SELECT branch_id, op, status FROM dtm.branch WHERE gid = 't5';

-- A transaction without a branch has nothing to wait for, prepared or not.
SELECT dtm_submit('{"gid": "t6", "trans_type": "tcc"}');
SELECT dtm_wait('t6');

-- What is wrong with a registration.
SELECT dtm_prepare('{"gid": "t7", "trans_type": "tcc"}');
SELECT * FROM refused($$SELECT register('t9', '01')$$);
SELECT * FROM refused($$SELECT register('t7', '01', 'xa')$$);
SELECT * FROM refused($$SELECT register('t7', '01', 'saga')$$);
SELECT * FROM refused($$SELECT register('t7', '')$$);
SELECT * FROM refused($$SELECT dtm_register_branch('{"gid": "t7", "trans_type": "tcc",
  "branch_id": 1}')$$);
SELECT * FROM refused($$SELECT dtm_register_branch('{"gid": "t7", "trans_type": "tcc",
  "branch_id": "01", "confirm": "no url"}')$$);
SELECT * FROM refused($$SELECT dtm_register_branch('[]')$$);
SELECT * FROM refused($$SELECT dtm_register_branch(NULL)$$);
BEGIN READ ONLY;
SELECT * FROM refused($$SELECT register('t7', '01')$$);
ROLLBACK;
SELECT count(*) FROM dtm.trans_branch WHERE gid = 't7';

-- Branches of others are not to be seen.
CREATE ROLE regress_dtm_one;
SELECT dtm_grant('regress_dtm_one', 'submit');
SELECT register('t7', '01');
SET ROLE regress_dtm_one;
SELECT * FROM dtm.branch WHERE gid = 't7';
SELECT * FROM dtm.branches_of('t7', 'tcc', 'prepared', now(), NULL, '{}', NULL);
SELECT * FROM refused($$SELECT register('t7', '02')$$);
SELECT * FROM refused($$SELECT dtm_abort('t7')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "t7", "trans_type": "tcc"}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "t7", "trans_type": "tcc"}')$$);
RESET ROLE;
SELECT dtm_revoke('regress_dtm_one');
DROP ROLE regress_dtm_one;

SELECT dtm_force_stop('t7');
DELETE FROM dtm.trans WHERE gid ~ '^t\d$';
DELETE FROM dtm.trans_branch WHERE gid ~ '^t\d$';
DROP FUNCTION register;
DROP VIEW a_row;
