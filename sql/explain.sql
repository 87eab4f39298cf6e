-- dtm_explain tells a person what happens. Times are masked here.
CREATE FUNCTION explained(gid text) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(line, 'owner [^)]+', 'owner ME'), 'by role \S+', 'by role ME'),
         '\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+[+-]\d+', 'TIME', 'g'), '\m\d+ (ms|s|min|h|d)\M', 'N s', 'g')
    FROM dtm_explain(gid) line $$;

-- Not committed yet.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo'), dtm_step('http://b/'), dtm_step('')], 'e1');
SELECT * FROM explained('e1');
-- Put aside.
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], 'e2');
UPDATE dtm.trans SET attention = 'the row raised an error', next_cron_time = NULL WHERE gid = 'e2';
COMMIT;
SELECT * FROM explained('e2');
SELECT dtm_force_stop('e1');
SELECT * FROM explained('e1');

-- Delayed.
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/'), dtm_step('http://b/')], 'e3', '{"delay": 3600}');
SELECT * FROM explained('e3');

-- Steps that wait for others, and one that failed; written as a coordinator writes it.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo'), dtm_step('http://b/', 'http://b/undo'),
  dtm_step('http://c/', 'http://c/undo', after => '{0,1}')], 'e4');
UPDATE dtm.trans SET version = version + 1, attention = NULL, next_cron_time = clock_timestamp() + interval '1 hour',
  progress = format('{"b":[{"r":1,"a":{"s":"succeed","n":1}},{"r":1,"a":{"n":4,"e":3,"t":%s,"l":"connection refused"}},{}]}',
                    (extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::int8)
 WHERE gid = 'e4';
SAVEPOINT s;
-- (The sentence about the commit would hide the one we want to see.)
COMMIT;
SELECT * FROM explained('e4');
-- On its way back.
UPDATE dtm.trans SET status = 'aborting', version = version + 1, rollback_reason = 'url:http://c/ return failed: no',
  progress = format('{"b":[{"r":1,"a":{"s":"succeed","n":1}},{"r":1,"a":{"s":"succeed","n":1},"c":{"n":2,"e":2,"t":%s,"l":"no"}},{"r":1,"a":{"s":"failed","n":1,"l":"no"},"c":{"s":"succeed","n":1}}]}',
                    (extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::int8)
 WHERE gid = 'e4';
SELECT * FROM explained('e4');

-- Finished well.
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], 'e5');
SELECT dtm_wait('e5');
SELECT * FROM explained('e5');
SELECT * FROM refused($$SELECT dtm_explain('unknown')$$);

SELECT dtm_force_stop(gid) FROM dtm.transaction WHERE gid IN ('e2', 'e3', 'e4');
DELETE FROM dtm.trans WHERE gid ~ '^e\d$';
DROP FUNCTION explained;
