-- dtm.strict_barrier: a call that was undone before it came is answered with FAILURE.
\set SHOW_CONTEXT never
CREATE TABLE account (id int PRIMARY KEY, balance int);
INSERT INTO account VALUES (1, 100);
SELECT dtm_protect('account');
-- Undo what has not come: saga, tcc, xa.
BEGIN;
SELECT dtm_barrier('saga', 's-1', '01', 'compensate'), dtm_barrier('tcc', 's-2', '01', 'cancel'),
       dtm_barrier('xa', 's-3', '01', 'rollback'), dtm_barrier('saga', 's-1', '02', 'action');
COMMIT;

SET dtm.strict_barrier = on;
SELECT * FROM refused($$SELECT dtm_barrier('saga', 's-1', '01', 'action')$$);
SELECT * FROM refused($$SELECT dtm_barrier('tcc', 's-2', '01', 'try')$$);
SELECT * FROM refused($$SELECT dtm_barrier('xa', 's-3', '01', 'action')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 's-1', '01', 'action', 'SELECT 1')$$);
BEGIN;
SELECT dtm_branch('saga', 's-1', '01', 'action');
SELECT * FROM refused('UPDATE account SET balance = 0');
-- Nothing of it was decided for the transaction: it is refused again.
SELECT * FROM refused('DELETE FROM account');
SELECT * FROM refused('TRUNCATE account');
-- Who asks for the verdict sees it.
SELECT dtm_barrier_verdict('saga', 's-1', '01', 'action');
ROLLBACK;
-- Duplicate and empty are as ever.
BEGIN;
SELECT dtm_barrier('saga', 's-1', '02', 'action') AS duplicate,
       dtm_barrier('saga', 's-1', '01', 'compensate') AS duplicate,
       dtm_barrier('saga', 's-1', '03', 'compensate') AS empty;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 's-1', '02', 'action');
UPDATE account SET balance = 0;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 's-1', '01', 'compensate');
UPDATE account SET balance = 0;
COMMIT;
SELECT dtm_barrier_call('saga', 's-1', '02', 'action', 'DELETE FROM account');

RESET dtm.strict_barrier;
BEGIN;
SELECT dtm_barrier('saga', 's-1', '01', 'action') AS hanging;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 's-1', '01', 'action');
UPDATE account SET balance = 0;
COMMIT;
SELECT dtm_barrier_call('saga', 's-1', '01', 'action', 'DELETE FROM account');
SELECT * FROM account;
SELECT gid, branch_id, op, barrier_id, reason FROM dtm_barrier.barrier WHERE gid LIKE 's-%'
 ORDER BY gid, branch_id, op COLLATE "C", barrier_id;
DROP TABLE account;
