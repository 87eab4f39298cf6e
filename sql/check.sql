-- dtm_check on a healthy server. Numbers are masked; whether fsync is on is the server's business.
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'c1');
SELECT dtm_wait('c1', '60 s');  -- now a coordinator runs
SELECT level, subject, regexp_replace(finding, '\d+', 'N', 'g') AS finding, remedy
  FROM dtm_check() WHERE subject NOT IN ('durability', 'version', 'attention');
SELECT datname = current_database() AS here, worker < workers AS slice, pid > 0 AS runs, started <
  clock_timestamp() AS started,
       succeeded > 0 AS works
  FROM dtm.stat_coordinator WHERE datname = current_database() AND worker = 0;

-- What is wrong is found.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], gid) FROM unnest(ARRAY['c2', 'c3']) gid;
UPDATE dtm.trans SET next_cron_time = '2026-01-02 03:04:05+00' WHERE gid = 'c2';
UPDATE dtm.trans SET next_cron_time = NULL, attention = 'broken' WHERE gid = 'c3';
SET LOCAL TimeZone = 'UTC';
SELECT level, subject, finding, remedy FROM dtm_check() WHERE subject IN ('due transactions',
  'attention');
-- Barrier rows grow old, too, while a transaction is put aside.
UPDATE dtm.trans SET create_time = clock_timestamp() - interval '20 days' WHERE gid = 'c3';
SELECT level, finding, remedy FROM dtm_check() WHERE subject = 'barrier';
ROLLBACK;
DELETE FROM dtm.trans WHERE gid = 'c1';
