-- Retention (P12): the index by which the coordinator finds what is old enough to leave.
SHOW dtm.retention;
-- The plan that the coordinator makes, with its settings.
BEGIN;
SET LOCAL plan_cache_mode = force_generic_plan;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_sort = off;
PREPARE finished(timestamptz, bigint) AS
  SELECT gid FROM dtm.trans WHERE COALESCE(finish_time, rollback_time) < $1
     AND status = ANY ('{succeed,failed}'::text[])
   ORDER BY COALESCE(finish_time, rollback_time) LIMIT $2 FOR UPDATE SKIP LOCKED;
EXPLAIN (COSTS OFF) EXECUTE finished('yesterday', 1000);
DEALLOCATE finished;
ROLLBACK;
-- Unfinished transactions are not in it, and so cost it nothing.
SELECT pg_get_expr(indpred, indrelid) FROM pg_index
 WHERE indexrelid = 'dtm.trans_finished'::regclass;
