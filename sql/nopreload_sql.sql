-- A server without shared_preload_libraries = 'dtm_pg': the SQL part works, nobody is called, and
-- that is
-- said wherever a person looks.
CREATE EXTENSION dtm_pg;
SELECT level, subject, finding, remedy FROM dtm_check() WHERE level <> 'ok' AND subject <>
  'durability';
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo')], 'n1');
SELECT gid, trans_type, status FROM dtm.transaction;
SELECT branch_id, op, url, status FROM dtm.branch;
SELECT line FROM dtm_explain('n1') WITH ORDINALITY AS e(line, n) ORDER BY n DESC LIMIT 1;
-- Whatever the time: when it has come, nothing happens.
UPDATE dtm.trans SET next_cron_time = now() + interval '1 day' WHERE gid = 'n1';
SELECT line FROM dtm_explain('n1') WITH ORDINALITY AS e(line, n) ORDER BY n DESC LIMIT 1;
SELECT dtm_wait('n1', '10 ms') IS NULL AS "still waiting";
SELECT count(*) FROM dtm.stat_coordinator;
UPDATE dtm.trans SET next_cron_time = now() - interval '1 day' WHERE gid = 'n1';
SELECT gid, regexp_replace(reason, 'since [^,]+', 'since TIME') AS reason, remedy FROM
  dtm.attention;
-- The settings are there.
SHOW dtm.retry_interval;
SHOW dtm.request_timeout;
DROP EXTENSION dtm_pg;
