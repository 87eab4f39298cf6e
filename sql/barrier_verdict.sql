-- The verdict of a barrier, by the rows that it finds: run, duplicate, empty, hanging.
-- These files run against the extension and against src/script/dtm_pg_barrier.sql.
CREATE VIEW barriers AS
  SELECT gid, branch_id, op, barrier_id, reason, trans_type FROM dtm_barrier.barrier;

-- A call that comes twice runs once.
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v1', '01', 'action');
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v1', '01', 'action');
COMMIT;
-- What it did is undone once.
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v1', '01', 'compensate');
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v1', '01', 'compensate');
COMMIT;
-- And a repeated action stays a duplicate.
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v1', '01', 'action');
COMMIT;
SELECT * FROM barriers WHERE gid = 'v1' ORDER BY branch_id, op COLLATE "C", barrier_id;

-- It is undone before it came: nothing to undo, and it never runs.
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v2', '01', 'compensate');
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v2', '01', 'action');
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v2', '01', 'compensate');
COMMIT;
SELECT * FROM barriers WHERE gid = 'v2' ORDER BY branch_id, op COLLATE "C", barrier_id;

-- A call that rolled back has not been.
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v3', '01', 'action');
ROLLBACK;
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v3', '01', 'action');
SAVEPOINT undone;
SELECT dtm_barrier_verdict('saga', 'v3', '02', 'action');
ROLLBACK TO undone;
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 'v3', '01', 'action'),
       dtm_barrier_verdict('saga', 'v3', '02', 'action');
COMMIT;
SELECT * FROM barriers WHERE gid = 'v3' ORDER BY branch_id, op COLLATE "C", barrier_id;

-- Every type and op, in the order in which they may come, in one transaction.
BEGIN;
SELECT t.trans_type, t.op, dtm_barrier_verdict(t.trans_type, 'v4-' || t.trans_type,
                                               CASE t.op WHEN 'msg' THEN '00' ELSE '01' END, t.op)
  FROM (VALUES (1, 'msg', 'action'), (2, 'msg', 'msg'), (3, 'saga', 'action'),
               (4, 'saga', 'compensate'), (5, 'tcc', 'try'), (6, 'tcc', 'confirm'),
               (7, 'tcc', 'cancel'), (8, 'xa', 'action'), (9, 'xa', 'commit'),
               (10, 'xa', 'rollback'),
               (11, 'workflow', 'action'), (12, 'workflow', 'compensate'),
               (13, 'workflow', 'commit'), (14, 'workflow', 'rollback'), (15, 'workflow', 'try'),
               (16, 'workflow', 'confirm'), (17, 'workflow', 'cancel')) AS t (n, trans_type, op)
 ORDER BY n;
SELECT trans_type, op, barrier_id, reason FROM barriers WHERE gid LIKE 'v4-%'
 ORDER BY trans_type, op COLLATE "C", barrier_id;
ROLLBACK;
-- The three ops that undo, first: each closes its origin.
BEGIN;
SELECT t.trans_type, t.op, dtm_barrier_verdict(t.trans_type, 'v5-' || t.trans_type, t.branch, t.op)
  FROM (VALUES (1, 'saga', 'a', 'compensate'), (2, 'saga', 'a', 'action'),
               (3, 'tcc', 'a', 'cancel'), (4, 'tcc', 'a', 'try'),
               (5, 'xa', 'a', 'rollback'), (6, 'xa', 'a', 'action'),
               (7, 'workflow', 'a', 'cancel'), (8, 'workflow', 'a', 'try'),
               (9, 'workflow', 'b', 'compensate'), (10, 'workflow', 'b', 'action'),
               (11, 'workflow', 'c', 'rollback'), (12, 'workflow', 'c', 'action'))
       AS t (n, trans_type, branch, op)
 ORDER BY n;
SELECT trans_type, branch_id, op, barrier_id, reason FROM barriers WHERE gid LIKE 'v5-%'
 ORDER BY trans_type, branch_id, op COLLATE "C";
ROLLBACK;

-- dtm_barrier is the verdict as a boolean: true, do it.
BEGIN;
SELECT dtm_barrier('tcc', 'v6', '01', 'try') AS run,
       dtm_barrier('tcc', 'v6', '02', 'cancel') AS empty;
COMMIT;
BEGIN;
SELECT dtm_barrier('tcc', 'v6', '01', 'try') AS duplicate,
       dtm_barrier('tcc', 'v6', '02', 'try') AS hanging;
COMMIT;
SELECT * FROM barriers WHERE gid = 'v6' ORDER BY branch_id, op COLLATE "C", barrier_id;

-- Several barriers of one branch call are counted, in the order in which they come.
BEGIN;
SELECT dtm_barrier('saga', 'v7', '01', 'action');
SELECT dtm_barrier('saga', 'v7', '01', 'action');
SAVEPOINT third;
SELECT dtm_barrier('saga', 'v7', '01', 'action');
SELECT max(barrier_id) FROM barriers WHERE gid = 'v7' AND branch_id = '01';
-- A savepoint that is rolled back takes its counts back, one that is released does not.
ROLLBACK TO third;
SELECT dtm_barrier('saga', 'v7', '01', 'action');
SELECT max(barrier_id) FROM barriers WHERE gid = 'v7' AND branch_id = '01';
RELEASE third;
SELECT dtm_barrier('saga', 'v7', '01', 'action');
-- Another branch, op or gid has a count of its own.
SELECT dtm_barrier('saga', 'v7', '02', 'action'), dtm_barrier('saga', 'v7b', '01', 'action');
SELECT dtm_barrier('saga', 'v7', '01', 'compensate');
COMMIT;
SELECT * FROM barriers WHERE gid LIKE 'v7%' ORDER BY gid, branch_id, op COLLATE "C", barrier_id;
-- The next call counts from 1 again, and finds all of them.
BEGIN;
SELECT dtm_barrier('saga', 'v7', '01', 'action'), dtm_barrier('saga', 'v7', '01', 'action'),
       dtm_barrier('saga', 'v7', '01', 'action'), dtm_barrier('saga', 'v7', '01', 'action'),
       dtm_barrier('saga', 'v7', '01', 'action') AS fifth;
ROLLBACK;
-- Beyond 99 the number gets longer. An error takes its counts back, too.
DO $$
BEGIN
  FOR i IN 1..99 LOOP
    PERFORM dtm_barrier('saga', 'v8', '01', 'action');
  END LOOP;
  BEGIN
    PERFORM dtm_barrier('saga', 'v8', '01', 'action');
    RAISE division_by_zero;
  EXCEPTION WHEN division_by_zero THEN NULL;
  END;
  PERFORM dtm_barrier('saga', 'v8', '01', 'action');
END $$;
SELECT count(*), count(DISTINCT barrier_id), max(length(barrier_id)) AS longest,
       count(*) FILTER (WHERE barrier_id = '100') AS hundredth
  FROM barriers WHERE gid = 'v8';

-- A barrier_id of one's own is taken as it is, and not counted.
BEGIN;
SELECT dtm_barrier('saga', 'v9', '01', 'action', 'stock'),
       dtm_barrier('saga', 'v9', '01', 'action');
SELECT dtm_barrier('saga', 'v9', '01', 'action', 'stock') AS duplicate,
       dtm_barrier('saga', 'v9', '01', 'action', '01') AS duplicate,
       dtm_barrier('saga', 'v9', '01', 'action', barrier_id => NULL) AS second;
COMMIT;
SELECT * FROM barriers WHERE gid = 'v9' ORDER BY branch_id, op COLLATE "C", barrier_id COLLATE "C";

-- The longest names that the columns take; length is counted in characters.
BEGIN;
SELECT dtm_barrier('saga', repeat('é', 128), repeat('b', 128), 'action', repeat('c', 45));
SELECT dtm_barrier('saga', repeat('é', 128), repeat('b', 128), 'action', repeat('c', 45));
ROLLBACK;
-- Names are taken as they are.
BEGIN;
SELECT dtm_barrier('saga', 'v''"\', '0''1', 'action'),
       dtm_barrier('saga', 'V''"\', '0''1', 'action');
SELECT gid, branch_id FROM barriers WHERE gid ~* '^v''' ORDER BY gid COLLATE "C";
ROLLBACK;

-- A row of one of dtm's clients (they leave the times NULL) counts as ours do.
BEGIN;
INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason, create_time,
  update_time)
VALUES ('saga', 'v10', '01', 'action', '01', 'action', NULL, NULL),
       ('saga', 'v10', '02', 'action', '01', 'compensate', NULL, NULL);
SELECT dtm_barrier_verdict('saga', 'v10', '01', 'action'),
       dtm_barrier_verdict('saga', 'v10', '02', 'action');
-- And their INSERT finds our rows.
SELECT dtm_barrier_verdict('saga', 'v10', '03', 'action');
WITH row AS (
  INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
  VALUES ('saga', 'v10', '03', 'action', '01', 'action'),
         ('saga', 'v10', '04', 'action', '01', 'action')
  ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING RETURNING branch_id)
SELECT branch_id FROM row;
ROLLBACK;
DROP VIEW barriers;
