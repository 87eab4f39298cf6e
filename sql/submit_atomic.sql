-- A submit is part of its transaction (P1, P2): with it, with its savepoint, and with a
-- transaction that is
-- prepared here and committed elsewhere.
CREATE TABLE purchase (id text PRIMARY KEY);

BEGIN;
INSERT INTO purchase VALUES ('rolled back');
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'rolled back');
ROLLBACK;

BEGIN;
INSERT INTO purchase VALUES ('committed');
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'committed');
SAVEPOINT s;
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'savepoint rolled back');
ROLLBACK TO s;
SAVEPOINT s;
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'savepoint released');
RELEASE s;
COMMIT;

DO $$
BEGIN
  BEGIN
    PERFORM dtm_submit('saga', ARRAY[dtm_step('')], 'exception');
    RAISE division_by_zero;
  EXCEPTION WHEN division_by_zero THEN NULL;
  END;
  -- A refused submit takes only its own block with it.
  BEGIN
    PERFORM dtm_submit('saga', ARRAY[dtm_step('nowhere')], 'refused');
  EXCEPTION WHEN SQLSTATE 'TD001' THEN NULL;
  END;
  PERFORM dtm_submit('saga', ARRAY[dtm_step('')], 'after exceptions');
END $$;

BEGIN;
INSERT INTO purchase VALUES ('prepared, committed');
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'prepared, committed');
PREPARE TRANSACTION 'regress_dtm_1';
BEGIN;
SELECT dtm_submit('saga', ARRAY[dtm_step('')], 'prepared, rolled back');
PREPARE TRANSACTION 'regress_dtm_2';
SELECT count(*) FROM dtm.transaction WHERE gid LIKE 'prepared%';
\c -
COMMIT PREPARED 'regress_dtm_1';
ROLLBACK PREPARED 'regress_dtm_2';

-- What committed is driven to its end; of the others there is no trace.
SELECT gid, dtm_wait(gid, '60 s') FROM dtm.transaction
 WHERE gid IN ('rolled back', 'committed', 'savepoint rolled back', 'savepoint released',
   'exception',
               'refused', 'after exceptions', 'prepared, committed', 'prepared, rolled back')
 ORDER BY gid;
SELECT id FROM purchase ORDER BY id;

-- In one statement with the business rows, as many as there are.
WITH sold AS (INSERT INTO purchase SELECT 'bulk ' || n FROM generate_series(1, 300) n RETURNING id)
SELECT count(dtm_submit('msg', ARRAY[dtm_step('')], id)) FROM sold;
SELECT dtm_wait('bulk 300', '60 s');
SELECT count(*) FROM purchase WHERE dtm_wait(id, '1 s') = 'succeed' AND id IN ('bulk 1',
  'bulk 150', 'bulk 299');

-- Read-only transactions cannot submit.
BEGIN READ ONLY;
SELECT * FROM refused($$SELECT dtm_submit('saga', ARRAY[dtm_step('')])$$);
ROLLBACK;

DROP TABLE purchase;
DELETE FROM dtm.trans WHERE status = 'succeed';
