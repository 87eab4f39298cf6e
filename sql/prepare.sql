-- dtm_prepare, and dtm_submit of what is prepared.
CREATE VIEW a_row AS SELECT gid, trans_type, status, version, progress, next_cron_time -
  create_time AS due, next_cron_interval AS interval, request FROM dtm.trans WHERE gid ~ '^p\d$';

-- What is prepared waits for its client; when that falls silent, its coordinator acts. A saga waits
-- for ever.
SELECT dtm_prepare('{"gid": "p1", "trans_type": "saga",
  "steps": [{"action": "http://a/", "compensate": "http://a/undo"}, {"action": ""}],
  "payloads": ["{}", "{}"]}');
SELECT dtm_prepare('{"gid": "p2", "trans_type": "msg", "query_prepared": "http://q/",
  "steps": [{"action": "http://a/"}], "payloads": ["{}"], "timeout_to_fail": 3000,
  "branch_headers": {"x": "y"}}');
SELECT dtm_prepare('{"gid": "p3", "trans_type": "tcc"}');
SELECT dtm_prepare('{"gid": "p4", "trans_type": "xa", "timeout_to_fail": 3000}');
SELECT dtm_prepare('{"gid": "p5", "trans_type": "workflow", "query_prepared": "http://w/",
  "custom_data": "{\"name\": \"transfer\", \"data\": \"YQ==\"}", "retry_interval": 3000}');
SELECT * FROM a_row ORDER BY gid;
-- Nobody has to look after any of them.
SELECT * FROM dtm.attention WHERE gid ~ '^p\d$';
SELECT regexp_replace(line, 'in \d+ .*', 'in SOME TIME') FROM
  (SELECT 1 AS n, dtm_explain('p1') AS line UNION ALL SELECT 2, dtm_explain('p2') UNION ALL
   SELECT 3, dtm_explain('p3') UNION ALL SELECT 4, dtm_explain('p5')) e
 WHERE line ~ '^waiting' ORDER BY n;
SELECT dtm_retry_now('p1') AS saga, dtm_retry_now('p2') AS msg, dtm_retry_now('p3') AS tcc;
-- A gid is made when none is given.
SELECT length(dtm_prepare('{"trans_type": "tcc"}')), length(dtm_prepare('{"trans_type": "tcc",
  "gid": null}')), length(dtm_prepare('{"trans_type": "tcc", "GID": ""}'));
DELETE FROM dtm.trans WHERE length(gid) = 22;

-- The same again is answered like the first time; another request is not.
SELECT dtm_prepare('{"gid": "p3", "trans_type": "tcc"}');
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p3", "trans_type": "xa"}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p3", "trans_type": "tcc",
  "retry_interval": 5}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p1", "trans_type": "saga",
  "steps": [{"action": "http://b/"}], "payloads": ["{}"]}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p3", "trans_type": "sage"}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p9", "trans_type": "saga"}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "a;b", "trans_type": "tcc"}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('[]')$$);
SELECT * FROM refused($$SELECT dtm_prepare(NULL)$$);
BEGIN READ ONLY;
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p9", "trans_type": "tcc"}')$$);
ROLLBACK;

-- A submit counts when its transaction commits.
BEGIN;
SELECT dtm_submit('{"gid": "p2", "trans_type": "msg", "custom_data": "{\"delay\": 3600}"}');
SELECT gid, status, version, due FROM a_row WHERE gid = 'p2';
ROLLBACK;
SELECT gid, status, version, due FROM a_row WHERE gid = 'p2';
-- The steps are those that were prepared. They may be left out; others are refused.
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "p2", "trans_type": "msg",
  "steps": [{"action": "http://b/"}], "payloads": ["{}"]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "p2", "trans_type": "saga",
  "steps": [{"action": "http://a/"}], "payloads": ["{}"]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "p9", "trans_type": "msg"}')$$);
-- Options that are given replace the prepared ones, the others stay (D32).
SELECT dtm_submit('{"gid": "p2", "trans_type": "msg", "timeout_to_fail": 4000,
  "custom_data": "{\"delay\": 3600}"}');
SELECT gid, status, version, due, request FROM a_row WHERE gid = 'p2';
-- Once more: the same, and something else.
SELECT dtm_submit('{"gid": "p2", "trans_type": "msg"}');
SELECT dtm_submit('{"gid": "p2", "trans_type": "msg", "timeout_to_fail": 4000,
  "custom_data": "{\"delay\": 3600}"}');
SELECT version FROM a_row WHERE gid = 'p2';
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "p2", "trans_type": "msg",
  "timeout_to_fail": 5000}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p2", "trans_type": "msg",
  "query_prepared": "http://q/", "steps": [{"action": "http://a/"}], "payloads": ["{}"]}')$$);

-- A saga that was only prepared says that nothing of it has run, so undoing it calls nobody.
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo', '{}'), dtm_step('', NULL,
  '{}')], 'p1');
SELECT gid, status, version, progress, due < '1 min' AS due FROM a_row WHERE gid = 'p1';
SELECT branch_id, op, may_have_run FROM dtm.branch WHERE gid = 'p1';
ROLLBACK;

-- What waits for nobody is driven to its end: a message without a delay.
SELECT dtm_prepare('{"gid": "p6", "trans_type": "msg", "query_prepared": "http://q/",
  "steps": [{"action": ""}, {"action": ""}], "payloads": ["", ""]}');
SELECT dtm_submit('{"gid": "p6", "trans_type": "msg", "query_prepared": "http://q/",
  "steps": [{"action": ""}, {"action": ""}], "payloads": ["", ""]}');
SELECT dtm_wait('p6');
-- Like any other that goes well, it ends without a word about its progress.
SELECT gid, status, version, progress FROM a_row WHERE gid = 'p6';
SELECT branch_id, op, status, finish_time IS NOT NULL AS finished FROM dtm.branch WHERE gid = 'p6';
SELECT * FROM refused($$SELECT dtm_submit('{"gid": "p6", "trans_type": "msg"}')$$);
SELECT * FROM refused($$SELECT dtm_prepare('{"gid": "p6", "trans_type": "msg",
  "query_prepared": "http://q/", "steps": [{"action": ""}, {"action": ""}],
  "payloads": ["", ""]}')$$);
-- A message without a question is sent when its client has been silent for long enough (D9).
SELECT dtm_prepare('{"gid": "p7", "trans_type": "msg", "timeout_to_fail": 1,
  "steps": [{"action": ""}], "payloads": [""]}');
SELECT dtm_wait('p7');

SELECT dtm_force_stop(gid) FROM dtm.transaction WHERE gid ~ '^p[1-5]$';
DELETE FROM dtm.trans WHERE gid ~ '^p\d$';
DROP VIEW a_row;
