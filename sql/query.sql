-- dtm_query prints what dtm's GET query prints.
BEGIN;
SET LOCAL TimeZone = 'Asia/Shanghai';
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/undo', '{"amount":30}'),
  dtm_step('')], 'q1',
                  '{"timeout_to_fail": 60}');
SELECT key, CASE WHEN key LIKE '%\_time' THEN to_jsonb(value#>>'{}' ~
  '^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+08:00$')
                 WHEN key = 'owner' THEN to_jsonb(value#>>'{}' = current_user) ELSE value END AS
                   value
  FROM jsonb_each(dtm_query('q1')->'transaction') ORDER BY key;
SELECT b - '{create_time,update_time}'::text[] AS branch FROM
  jsonb_array_elements(dtm_query('q1')->'branches') b;
SELECT dtm_query('unknown');
SELECT dtm_query(NULL) IS NULL AS "null";
-- A row that cannot be read is shown as far as it can be.
UPDATE dtm.trans SET request = 'broken' WHERE gid = 'q1';
SELECT dtm_query('q1')->'transaction'->>'status' AS status, dtm_query('q1')->'branches' AS branches;
ROLLBACK;
