-- dtm's own request.
BEGIN;
SELECT dtm_submit('{"gid": "r1", "trans_type": "saga", "protocol": "http", "timeout_to_fail": 60,
  "steps": [{"action": "http://a/out", "compensate": "http://a/back"}, {"action": "http://b/in"}],
  "payloads": ["{\"amount\":30}", ""], "branch_headers": {"x-shop": "berlin"},
  "custom_data": "{\"concurrent\":true,\"orders\":{\"1\":[0]}}", "unknown": [1]}');
SELECT gid, trans_type, status, next_cron_interval, attempts, next_cron_time <= clock_timestamp()
  AS due
  FROM dtm.transaction WHERE gid = 'r1';
SELECT branch_id, op, url, status, attempts, errors FROM dtm.branch WHERE gid = 'r1';
SELECT convert_from(decode(b->>'bin_data', 'base64'), 'UTF8') AS body, b->>'op' AS op
  FROM jsonb_array_elements(dtm_query('r1')->'branches') b WHERE b ? 'bin_data';
SELECT dtm_query('r1')->'transaction'->>'options';

-- A gid is made where none is given.
SELECT length(dtm_submit('{"trans_type": "msg", "steps": [{"action": "http://a/"}],
  "payloads": ["x"]}'));
SELECT length(dtm_submit('{"gid": "", "trans_type": "msg", "steps": [{"action": "http://a/"}],
  "payloads": [""]}'));
-- Old clients put the payload into the step.
SELECT dtm_submit('{"gid": "r2", "trans_type": "msg", "steps": [{"action": "http://a/",
  "data": "{\"a\":1}"}],
  "custom_data": "{\"delay\":3600}"}');
SELECT url, status FROM dtm.branch WHERE gid = 'r2';
SELECT next_cron_time > now() + interval '59 minutes' AS delayed FROM dtm.transaction WHERE gid =
  'r2';
ROLLBACK;

-- What is wrong is said before anything is stored.
SELECT * FROM refused($$SELECT dtm_submit(NULL::jsonb)$$);
SELECT * FROM refused($$SELECT dtm_submit('[]')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"steps": [{"action": "http://a/"}]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "sage",
  "steps": [{"action": "http://a/"}]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "saga"}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "saga",
  "steps": [{"action": "http://a/"}]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "saga",
  "steps": [{"action": "http://a/"}, {"action": 7}], "payloads": ["", ""]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "saga", "gid": "a''b",
  "steps": [{"action": "http://a/"}], "payloads": [""]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "saga",
  "steps": [{"action": "http://a/"}], "payloads": [{"amount": 30}]}')$$);
SELECT * FROM refused($$SELECT dtm_submit('{"trans_type": "saga",
  "steps": [{"action": "http://a/"}, {"action": "http://b/"}], "payloads": ["", ""], "custom_data":
  "{\"concurrent\":true,\"orders\":{\"1\":[5]}}"}')$$);
SELECT count(*) FROM dtm.transaction WHERE gid LIKE 'r_';
