-- What the views derive from rows. All within one transaction, so no coordinator sees these rows.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo'), dtm_step('http://b/',
  'http://b/undo')], gid)
  FROM unnest(ARRAY['v1 fresh', 'v2 clean', 'v3 rolling back', 'v4 unreadable', 'v5 newer',
    'v6 late', 'v7 aside',
                    'v8 failing', 'va dead', 'vb paused', 'vc crowded', 'vd paused now',
                    've undone']) gid;
UPDATE dtm.trans SET status = 'succeed', finish_time = '2026-01-02 03:04:05+00',
  next_cron_time = NULL
 WHERE gid = 'v2 clean';
UPDATE dtm.trans SET status = 'aborting', rollback_reason = 'url:http://b/ return failed: no',
  progress = '{"b":[{"r":1,"a":{"s":"succeed","n":1}},{"r":1,"a":{"s":"failed","n":2,"l":"no"},
          "c":{"n":1,"e":1,"l":"500"}}]}'
 WHERE gid = 'v3 rolling back';
UPDATE dtm.trans SET request = '{"steps":' WHERE gid = 'v4 unreadable';
UPDATE dtm.trans SET trans_type = 'lra' WHERE gid = 'v5 newer';
UPDATE dtm.trans SET next_cron_time = now() - interval '1 day' WHERE gid = 'v6 late';
UPDATE dtm.trans SET next_cron_time = NULL, attention = 'its role is gone' WHERE gid = 'v7 aside';
UPDATE dtm.trans SET next_cron_time = now() + interval '1 day',
  progress = '{"b":[{"r":1,"a":{"n":5,"e":5,"t":4102444800000000,"l":"connection refused"}},{}]}'
 WHERE gid = 'v8 failing';

-- Kept back: with the last answer, if there was one; not yet for long; and what will not be called.
UPDATE dtm.trans SET next_cron_time = now() + interval '1 day',
  progress = replace(CASE gid
    WHEN 'va dead' THEN '{"b":[{"r":1,"a":{"n":1,"e":1,"l":"500",
      "k":{"w":"breaker","r":"the host answers nobody","t":NOW}}},{}]}'
    WHEN 'vb paused' THEN '{"b":[{"a":{"k":{"w":"pause","r":"the host is paused",
      "t":1767323045000000}}},{}]}'
    WHEN 'vc crowded' THEN '{"b":[{"a":{"k":{"w":"crowd","r":"the host is slow",
      "t":1767323045000000}}},{}]}'
    WHEN 'vd paused now' THEN '{"b":[{"a":{"k":{"w":"pause","r":"the host is paused",
      "t":NOW}}},{}]}'
    ELSE '{"b":[{"r":1,"a":{"k":{"w":"breaker","r":"the host answers nobody","t":NOW}}},{}]}'
    END, 'NOW', (extract(epoch FROM clock_timestamp()) * 1000000)::int8::text),
  status = CASE gid WHEN 've undone' THEN 'aborting' ELSE 'submitted' END
 WHERE gid ~ '^v[a-e]';

SELECT gid, branch_id, op, status, attempts, errors, finish_time AT TIME ZONE 'UTC' AS finish_time,
  last_error, may_have_run
  FROM dtm.branch WHERE gid ~ '^v[1-5a]' ORDER BY gid, branch_id, op DESC;
-- One unreadable row does not hide the others, and is listed itself.
SET LOCAL TimeZone = 'UTC';
SELECT gid, regexp_replace(regexp_replace(reason, '(since) [^,]+, (and nobody works on it).*',
    '\1 TIME, \2'), 'since 20[-:. +0-9]+:', 'since TIME:') AS reason
  FROM dtm.attention WHERE gid ~ '^v' ORDER BY gid;
SELECT gid, remedy FROM dtm.attention WHERE gid ~ '^v[4578abc]' ORDER BY gid;
-- A finished transaction needs nobody.
UPDATE dtm.trans SET status = 'failed', next_cron_time = NULL WHERE gid ~ '^v';
SELECT count(*) FROM dtm.attention WHERE gid ~ '^v';
ROLLBACK;

-- Finished rows are not looked at: both indexes leave them out.
BEGIN;
SET LOCAL enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM dtm.trans WHERE next_cron_time IS NOT NULL OR attention IS
  NOT NULL;
ROLLBACK;

-- Rows come and go all the time: vacuum comes before dead index entries pile up.
SELECT c.oid::regclass AS table, o.option_name, o.option_value
  FROM pg_class c CROSS JOIN LATERAL pg_options_to_table(c.reloptions) o
 WHERE c.relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace) AND c.relkind = 'r'
 ORDER BY c.relname COLLATE "C", o.option_name COLLATE "C";
