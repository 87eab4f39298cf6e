-- The people's form: steps and options.
BEGIN;
SELECT dtm_submit('saga', ARRAY[
  dtm_step('http://bank/out', 'http://bank/out-undo', '{"account": "a", "amount": 30}'),
  dtm_step('http://bank/in', 'http://bank/in-undo', '{"account": "b", "amount": 30}')], 's1');
SELECT branch_id, op, url, status FROM dtm.branch WHERE gid = 's1';
SELECT convert_from(decode(b->>'bin_data', 'base64'), 'UTF8') AS body
  FROM jsonb_array_elements(dtm_query('s1')->'branches') b WHERE b->>'op' = 'action';
-- It is the same transaction as dtm's request makes.
SELECT dtm_submit('{"gid": "s1", "trans_type": "saga", "steps": [
    {"action": "http://bank/out", "compensate": "http://bank/out-undo"},
    {"action": "http://bank/in", "compensate": "http://bank/in-undo"}],
  "payloads": ["{\"amount\": 30, \"account\": \"a\"}", "{\"amount\": 30, \"account\": \"b\"}"]}');

-- All options; times are seconds.
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo')], 's2',
  '{"timeout_to_fail": 60, "retry_interval": 5, "request_timeout": 4, "retry_limit": 3,
    "concurrent": true,
    "branch_headers": {"x-shop": "berlin"}, "protocol": "http", "exact_progress": true}');
SELECT dtm_query('s2')->'transaction'->>'options' AS options, next_cron_interval
  FROM dtm.transaction WHERE gid = 's2';
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/'), dtm_step('http://b/')], 's3',
  '{"delay": 3600, "concurrent": true, "retry_interval": null}');
SELECT dtm_query('s3')->'transaction'->>'options' AS options,
  dtm_query('s3')->'transaction'->>'custom_data' AS custom_data, next_cron_interval
  FROM dtm.transaction WHERE gid = 's3';
-- after makes a saga concurrent.
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'), dtm_step('http://b/'),
  dtm_step('http://c/', after => '{0,1}')], 's4');
SELECT dtm_query('s4')->'transaction'->>'custom_data' AS custom_data;
-- Steps may be written by hand, and a gid is made for NULL and ''.
SELECT length(dtm_submit('msg', ARRAY['{"action": "http://a/", "payload": [1]}'::jsonb])),
       length(dtm_submit('msg', ARRAY[dtm_step('http://a/')], ''));
ROLLBACK;

-- Errors name the field as the user wrote it.
SELECT * FROM refused($$SELECT dtm_submit(NULL, NULL)$$);
SELECT * FROM refused($$SELECT dtm_submit('tcc', ARRAY[dtm_step('http://a/')])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', NULL)$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', '{}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'), NULL])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY['[1]'::jsonb])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY['{"acton": "http://a/"}'::jsonb])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'),
  dtm_step('ftp://a/')])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'nowhere')])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'),
  dtm_step('http://b/', after => '{2}')])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', after => '{1}'),
  dtm_step('http://b/', after => '{0}')])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/'),
  dtm_step('http://b/', after => '{0}')], NULL, '{"concurrent": false}')$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', 'http://a/undo')])$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', after => '{0}')])$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], 'a;b')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], repeat('x',
  129))$$);
-- Options.
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL, '[]')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"timeout": 5}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"timeout_to_fail": "5 s"}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"timeout_to_fail": -1}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"concurrent": "yes"}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"delay": 5}')$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], NULL,
  '{"retry_limit": 5}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"protocol": "grpc"}')$$);
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], NULL,
  '{"branch_headers": {"x": 1}}')$$);
