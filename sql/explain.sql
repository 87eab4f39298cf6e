-- dtm_explain tells a person what happens. Times are masked here.
CREATE FUNCTION explained(gid text) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(line, 'owner [^)]+',
    'owner ME'), 'by role \S+', 'by role ME'),
         '\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+[+-]\d+', 'TIME', 'g'), '\m\d+ (ms|s|min|h|d)\M', 'N s',
           'g')
    FROM dtm_explain(gid) line $$;

-- It would say so if no coordinator ran: one does when this one has ended.
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'e0');
SELECT dtm_wait('e0');
-- Not committed yet.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo'), dtm_step('http://b/'),
  dtm_step('')], 'e1');
SELECT * FROM explained('e1');
ROLLBACK;

-- Delayed.
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/'), dtm_step('http://b/')], 'e2',
  '{"delay": 3600}');
SELECT * FROM explained('e2');
-- Put aside.
UPDATE dtm.trans SET attention = 'the row raised an error', next_cron_time = NULL WHERE gid = 'e2';
SELECT * FROM explained('e2');
-- Given up.
SELECT dtm_force_stop('e2');
SELECT * FROM explained('e2');

-- Steps that wait for others, and one that failed. Written here as a coordinator writes it, and
-- not due, so that none touches it.
INSERT INTO dtm.trans (gid, trans_type, status, owner, request, progress, next_cron_time)
SELECT 'e4', 'saga', 'submitted', current_user::regrole,
       '{"steps":[{"action":"http://a/","compensate":"http://a/undo"},
          {"action":"http://b/","compensate":"http://b/undo"},'
       '{"action":"http://c/","compensate":"http://c/undo","after":[0,1]}],
          "payloads":["","",""],"concurrent":true}',
       format('{"b":[{"r":1,"a":{"s":"succeed","n":1}},
          {"r":1,"a":{"n":4,"e":3,"t":%s,"l":"connection refused"}},{}]}',
              (extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::int8),
       clock_timestamp() + interval '1 hour';
SELECT * FROM explained('e4');
-- Its host is paused: the time of the next call is none.
BEGIN;
SELECT dtm_pause(host => 'http://b');
SELECT * FROM explained('e4');
ROLLBACK;
-- It is rolled back before that time.
BEGIN;
UPDATE dtm.trans SET request =
  replace(request, '"concurrent"', '"timeout_to_fail":1800,"concurrent"') WHERE gid = 'e4';
SELECT * FROM explained('e4');
UPDATE dtm.identity SET installed = installed - interval '2 hours';
UPDATE dtm.trans SET create_time = create_time - interval '1 hour' WHERE gid = 'e4';
SELECT line FROM explained('e4') line WHERE line ~ 'rolled back';
ROLLBACK;
-- Skipped.
BEGIN;
SELECT dtm_skip('e4', '02', 'done by hand'), dtm_skip('e4', '03');
SELECT replace(line, session_user, 'ME') AS line FROM explained('e4') line WHERE line ~ ' action ';
ROLLBACK;
-- Kept back.
UPDATE dtm.trans SET progress = format('{"b":[{"r":1,"a":{"s":"succeed","n":1}},{"r":1,
    "a":{"n":4,"t":%s,"l":"out of paper",
      "k":{"w":"pause","r":"host http://b:80 is paused","t":%s}}},{}]}',
  (extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::int8,
  (extract(epoch FROM clock_timestamp() - interval '1 hour') * 1000000)::int8)
 WHERE gid = 'e4';
SELECT * FROM explained('e4');
-- On its way back.
UPDATE dtm.trans SET status = 'aborting', version = version + 1,
  rollback_reason = 'url:http://c/ return failed: no',
  progress = format('{"b":[{"r":1,"a":{"s":"succeed","n":1}},{"r":1,"a":{"s":"succeed","n":1}},'
                    '{"r":1,"a":{"s":"failed","n":1,"l":"no"},
          "c":{"n":2,"e":2,"t":%s,"l":"<html>busy</html>"}}]}',
                    (extract(epoch FROM clock_timestamp() + interval '1 hour') * 1000000)::int8)
 WHERE gid = 'e4';
SELECT * FROM explained('e4');
-- A serial one.
UPDATE dtm.trans SET status = 'submitted', progress = NULL,
  request = '{"steps":[{"action":"http://a/"},{"action":"http://b/"},
          {"action":"http://c/"}],"payloads":["","",""]}'
 WHERE gid = 'e4';
SELECT * FROM explained('e4');

-- Finished well.
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], 'e5');
SELECT dtm_wait('e5');
SELECT * FROM explained('e5');
SELECT * FROM refused($$SELECT dtm_explain('unknown')$$);

SELECT dtm_force_stop(gid) FROM dtm.transaction WHERE gid IN ('e4');
DELETE FROM dtm.trans WHERE gid ~ '^e\d$';
DROP FUNCTION explained;
