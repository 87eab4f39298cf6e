-- What operators order: dtm_pause, dtm_resume, dtm_redirect, dtm_skip. What coordinators make of it
-- is tested in tests/e2e/test_orders.py. Here nobody is called: everything is paused first.
CREATE ROLE regress_dtm_admin;
CREATE ROLE regress_dtm_observer;
SELECT dtm_grant('regress_dtm_admin', 'admin'), dtm_grant('regress_dtm_observer', 'observe');
CREATE VIEW standing AS
  SELECT kind, name, value, reason, role = session_user AS mine FROM dtm.control ORDER BY 1, 2;
CREATE VIEW happened AS
  SELECT gid, verb, role = session_user AS mine, detail FROM dtm.event ORDER BY time;
CREATE VIEW a_row AS SELECT gid, status, version, next_cron_time <= clock_timestamp() AS due,
  replace(attention, session_user, 'ME') AS attention FROM dtm.trans WHERE gid ~ '^o\d$';

DELETE FROM dtm.event;

SELECT dtm_pause(everything => true, reason => 'quiet');
SELECT * FROM refused($$SELECT dtm_pause(everything => true)$$);

-- Another session sees the order: it is a row.
\c
SELECT * FROM standing;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1', 'http://a/2'), dtm_step('http://a/3')],
  'o1');

-- One transaction. The record names the session's user, whatever role is set.
SET ROLE regress_dtm_admin;
SELECT dtm_pause('o1', reason => 'until Monday');
SELECT * FROM refused($$SELECT dtm_pause('o1')$$);
SELECT * FROM refused($$SELECT dtm_retry_now('o1')$$) LIMIT 1;
RESET ROLE;
SELECT * FROM a_row;
SELECT gid, replace(reason, session_user, 'ME') AS reason FROM dtm.attention;
SELECT replace(line, session_user, 'ME') AS line FROM dtm_explain('o1') line
 WHERE line ~ '^waiting';
-- Done by hand; it stays paused.
SELECT dtm_skip('o1', '01', 'by hand');
SELECT * FROM refused($$SELECT dtm_skip('o1', '01')$$);
SELECT * FROM refused($$SELECT dtm_skip('o1', '07')$$);
SELECT branch_id, op, status, replace(last_error, session_user, 'ME') AS last_error, may_have_run
  FROM dtm.branch WHERE gid = 'o1';
SELECT * FROM a_row;
SELECT dtm_resume('o1');
SELECT * FROM a_row;
SELECT * FROM refused($$SELECT dtm_resume('o1')$$);

-- A retry that waits is hurried by resuming, a delay is not; nothing is due before its call.
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], 'o2', '{"delay": 3600}');
SELECT dtm_pause('o2'), dtm_resume('o2');
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'), dtm_step('http://a/')], 'o3');
UPDATE dtm.trans SET next_cron_time = '2100-01-01 00:00+00', progress =
  '{"b":[{"r":1,"a":{"n":5,"e":5,"t":4102444800000000,"l":"refused"}},{}]}' WHERE gid = 'o3';
SELECT dtm_skip('o3', '02');
SELECT * FROM a_row WHERE gid > 'o1';
SELECT dtm_pause('o3'), dtm_resume('o3');
SELECT * FROM a_row WHERE gid > 'o1';
SELECT branch_id, attempts, errors, next_time <= clock_timestamp() AS due
  FROM dtm.branch WHERE gid = 'o3' AND op = 'action';
ROLLBACK;

-- While it is undone, the compensation is skipped.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1', 'http://a/2'),
  dtm_step('http://a/3', 'http://a/4')], 'o3');
UPDATE dtm.trans SET status = 'aborting', progress = '{"b":[{"r":1},{"a":{"s":"failed"}}]}'
 WHERE gid = 'o3';
SELECT * FROM refused($$SELECT dtm_skip('o3', '02')$$);
SELECT dtm_skip('o3', '01');
SELECT branch_id, op, status FROM dtm.branch WHERE gid = 'o3';
ROLLBACK;

-- What cannot be read can be paused, resumed and stopped, but not skipped.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], 'o4');
UPDATE dtm.trans SET request = 'broken' WHERE gid = 'o4';
SELECT dtm_pause('o4'), dtm_resume('o4');
SELECT * FROM refused($$SELECT dtm_skip('o4', '01')$$);
SELECT dtm_force_stop('o4');
ROLLBACK;

-- Hosts and prefixes.
SELECT dtm_pause(host => 'http://stock:8080', reason => 'moving');
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://stock:8080')$$);
SELECT dtm_redirect('http://stock:8080/v1', 'http://stock2/v2', 'moved');
SELECT dtm_redirect('http://stock:8080/v1', 'https://stock3/');
SELECT * FROM standing;
SELECT level, replace(finding, session_user, 'ME') AS finding, remedy FROM dtm_check()
 WHERE subject = 'orders';
BEGIN;
SELECT dtm_resume(host => 'http://stock:8080'), dtm_redirect('http://stock:8080/v1', NULL);
SELECT kind, name FROM standing;
ROLLBACK;
SELECT kind, name FROM standing;

-- Who looks at a transaction sees where its calls go now: the longest prefix counts.
BEGIN;
SELECT dtm_redirect('http://a', 'http://b'), dtm_redirect('http://a/3', 'http://c/4');
SELECT replace(line, session_user, 'ME') AS line FROM dtm_explain('o1') line WHERE line ~ 'http';
UPDATE dtm.trans SET progress = '{"b":[{"r":1,"a":{"s":"succeed","n":1}},
  {"r":1,"a":{"n":3,"e":3,"t":4102444800000000,"l":"refused"}}]}' WHERE gid = 'o1';
SELECT reason FROM dtm.attention WHERE gid = 'o1';
ROLLBACK;

-- Refused.
SELECT dtm_force_stop('o2');
SELECT * FROM refused($$SELECT dtm_pause('o2')$$);
SELECT * FROM refused($$SELECT dtm_resume('o2')$$);
SELECT * FROM refused($$SELECT dtm_skip('o2', '01')$$);
SELECT * FROM refused($$SELECT dtm_pause('unknown')$$);
SELECT * FROM refused($$SELECT dtm_resume('unknown')$$);
SELECT * FROM refused($$SELECT dtm_skip('unknown', '01')$$);
SELECT * FROM refused($$SELECT dtm_skip(NULL, '01')$$);
SELECT * FROM refused($$SELECT dtm_skip('o1', NULL)$$);
SELECT * FROM refused($$SELECT dtm_pause('o1', 'http://stock:8080')$$);
SELECT * FROM refused($$SELECT dtm_resume('o1', 'http://stock:8080')$$);
SELECT * FROM refused($$SELECT dtm_pause('o1', everything => true)$$);
SELECT * FROM refused($$SELECT dtm_resume(host => 'http://stock:8080', everything => true)$$);
-- Everything must be said: a gid or a host that is NULL by mistake is not everything.
SELECT * FROM refused($$SELECT dtm_pause()$$);
SELECT * FROM refused($$SELECT dtm_resume()$$);
SELECT * FROM refused($$SELECT dtm_pause(gid => (SELECT gid FROM dtm.trans WHERE gid = 'none'))$$);
SELECT * FROM refused($$SELECT dtm_resume(gid => NULL)$$);
SELECT * FROM refused($$SELECT dtm_pause(host => NULL, reason => 'why', everything => NULL)$$);
SELECT kind, name FROM standing;
-- A host in the place of the gid.
SELECT * FROM refused($$SELECT dtm_pause('http://stock:8080')$$);
SELECT * FROM refused($$SELECT dtm_resume('https://stock')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'stock:8080')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://bad host')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => '')$$);
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://stock:8080/v1')$$);
-- One host, one order, however it is spelled.
SELECT dtm_pause(host => 'HTTP://Stock:80/');
SELECT * FROM refused($$SELECT dtm_pause(host => 'http://stock')$$);
SELECT name FROM dtm.control WHERE kind = 'pause';
SELECT dtm_resume(host => 'http://STOCK/');
SELECT * FROM refused($$SELECT dtm_resume(host => 'http://other')$$);
SELECT * FROM refused($$SELECT dtm_redirect('stock', 'http://stock2')$$);
SELECT * FROM refused($$SELECT dtm_redirect(NULL, 'http://stock2')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://stock', 'stock2')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://stock', '')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://bad host/ x', 'http://stock2')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://stock', 'http://stock:99999/')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://', 'http://stock2/')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://bad host/', NULL)$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://nobody', NULL)$$);

-- Rights: verbs are for admins, and nobody writes the tables.
SET ROLE regress_dtm_observer;
SELECT * FROM refused($$SELECT dtm_pause(everything => true)$$);
SELECT * FROM refused($$SELECT dtm_resume(everything => true)$$);
SELECT * FROM refused($$SELECT dtm_skip('o1', '02')$$);
SELECT * FROM refused($$SELECT dtm_redirect('http://a', 'http://b')$$);
SET ROLE regress_dtm_admin;
SELECT * FROM refused($$DELETE FROM dtm.control$$);
SELECT * FROM refused($$DELETE FROM dtm.event$$);
RESET ROLE;

SELECT dtm_redirect('http://stock:8080/v1', NULL, 'over'),
  dtm_resume(host => 'http://stock:8080');
SELECT dtm_force_stop('o1');
SELECT * FROM happened;
SELECT dtm_resume(everything => true);
SELECT * FROM refused($$SELECT dtm_resume(everything => true)$$);
SELECT * FROM standing;

DROP VIEW a_row, standing, happened;
DELETE FROM dtm.trans WHERE gid ~ '^o\d$';
DELETE FROM dtm.event;
SELECT dtm_revoke('regress_dtm_admin'), dtm_revoke('regress_dtm_observer');
DROP ROLE regress_dtm_admin, regress_dtm_observer;
