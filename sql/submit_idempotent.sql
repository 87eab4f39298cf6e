-- A gid names one transaction. The same request again is answered like the first one.
BEGIN;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload => '{"n": 1}')], 'twice',
  '{"delay": 3600}');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload => '{"n": 1}')], 'twice',
  '{"delay": 3600}');
COMMIT;
-- Also later, and in a transaction that does not see new rows by itself.
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload => '{"n": 1}')], 'twice',
  '{"delay": 3600}');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload => '{"n": 1}')], 'twice',
  '{"delay": 3600}');
COMMIT;
SELECT count(*), min(version) FROM dtm.trans WHERE gid = 'twice';
-- What differs is named.
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', payload =>
  '{"n": 1}')], 'twice')$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://b/', payload =>
  '{"n": 1}')], 'twice', '{"delay": 3600}')$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload =>
  '{"n": 2}')], 'twice', '{"delay": 3600}')$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/'),
  dtm_step('http://b/')], 'twice', '{"delay": 3600}')$$);
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload =>
  '{"n": 1}')], 'twice', '{"delay": 60}')$$);
-- A finished one is never begun again.
SELECT dtm_force_stop('twice');
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', payload =>
  '{"n": 1}')], 'twice', '{"delay": 3600}')$$);
DELETE FROM dtm.trans WHERE gid = 'twice';
