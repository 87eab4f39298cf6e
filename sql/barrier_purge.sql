-- Old barrier rows are removed, by age.
BEGIN;
DELETE FROM dtm_barrier.barrier;
SELECT dtm_barrier('saga', 'a-new', '01', 'action');
SELECT dtm_barrier('saga', 'a-' || days, '01', 'compensate')
  FROM unnest(ARRAY[29, 31, 60, 400]) AS days;
UPDATE dtm_barrier.barrier SET create_time = now() - substr(gid, 3)::int * interval '1 day'
 WHERE gid <> 'a-new';
-- 30 days, unless dtm.barrier_retention says otherwise. Two rows each: the undo and its origin.
SAVEPOINT before;
SELECT dtm_barrier_purge();
SELECT gid, count(*) FROM dtm_barrier.barrier GROUP BY gid ORDER BY gid COLLATE "C";
SELECT dtm_barrier_purge();
ROLLBACK TO before;
SELECT dtm_barrier_purge('1 year');
SELECT dtm_barrier_purge(older_than => '59 days 23:59:50');
SELECT dtm_barrier_purge('10 days');
SELECT gid, count(*) FROM dtm_barrier.barrier GROUP BY gid ORDER BY gid COLLATE "C";
SELECT dtm_barrier_purge('1 hour');
SELECT gid, count(*) FROM dtm_barrier.barrier GROUP BY gid ORDER BY gid COLLATE "C";
-- What was removed is not remembered: the age must exceed the life of the transactions.
SELECT dtm_barrier_verdict('saga', 'a-60', '02', 'action');
ROLLBACK;
