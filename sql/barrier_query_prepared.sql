-- The local transaction of a message: whether it committed, and that it cannot any more.
\set SHOW_CONTEXT never
CREATE TABLE orders (id int PRIMARY KEY);

-- It committed: true, as often as it is asked.
BEGIN;
SELECT dtm_barrier('msg', 'q1', '00', 'msg');
INSERT INTO orders VALUES (1);
COMMIT;
SELECT dtm_barrier_query_prepared('msg', 'q1');
SELECT dtm_barrier_query_prepared('msg', 'q1');
-- It cannot commit twice; the error takes what it wrote with it.
BEGIN;
INSERT INTO orders VALUES (2);
SELECT dtm_barrier('msg', 'q1', '00', 'msg');
COMMIT;
SELECT * FROM refused($$SELECT dtm_barrier('msg', 'q1', '00', 'msg')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('msg', 'q1', '00', 'msg', 'DELETE FROM orders')$$);
SELECT id FROM orders ORDER BY id;

-- It has not: false, and from then on it never will.
SELECT dtm_barrier_query_prepared('msg', 'q2');
SELECT dtm_barrier_query_prepared('msg', 'q2');
BEGIN;
INSERT INTO orders VALUES (3);
SELECT dtm_barrier('msg', 'q2', '00', 'msg');
COMMIT;
SELECT * FROM refused($$SELECT dtm_barrier('msg', 'q2', '00', 'msg')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('msg', 'q2', '00', 'msg', 'DELETE FROM orders')$$);
SELECT id FROM orders ORDER BY id;
-- It is one barrier: a second one in the same transaction is refused, too.
BEGIN;
SELECT dtm_barrier('msg', 'q6', '00', 'msg');
SELECT * FROM refused($$SELECT dtm_barrier('msg', 'q6', '00', 'msg')$$);
SELECT dtm_barrier_verdict('msg', 'q6', '00', 'msg');
COMMIT;
BEGIN;
SELECT dtm_barrier('msg', 'q7', '00', 'msg', '01');
SELECT * FROM refused($$SELECT dtm_barrier_call('msg', 'q7', '00', 'msg', 'DELETE FROM orders')$$);
-- What a savepoint takes back has not been.
SAVEPOINT s;
SELECT dtm_barrier('msg', 'q8', '00', 'msg');
ROLLBACK TO s;
SELECT dtm_barrier('msg', 'q8', '00', 'msg');
COMMIT;
-- The question is about branch 00 and barrier 01, so the local transaction is no other.
SELECT * FROM refused($$SELECT dtm_barrier('msg', 'q9', '01', 'msg')$$);
SELECT * FROM refused($$SELECT dtm_barrier_verdict('msg', 'q9', '1', 'msg')$$);
SELECT * FROM refused($$SELECT dtm_barrier('msg', 'q9', '00', 'msg', '02')$$);
SELECT * FROM refused($$SELECT dtm_barrier_verdict('msg', 'q9', '00', 'msg', 'stock')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('msg', 'q9', '01', 'msg', 'SELECT 1')$$);
SELECT dtm_barrier_query_prepared('msg', 'q6') AS q6, dtm_barrier_query_prepared('msg', 'q7') AS q7,
       dtm_barrier_query_prepared('msg', 'q8') AS q8, dtm_barrier_query_prepared('msg', 'q9') AS q9;
-- The verdict only tells.
BEGIN;
SELECT dtm_barrier_verdict('msg', 'q1', '00', 'msg') AS q1,
       dtm_barrier_verdict('msg', 'q2', '00', 'msg') AS q2;
ROLLBACK;

-- The question asked in a transaction that rolls back decides nothing.
BEGIN;
SELECT dtm_barrier_query_prepared('msg', 'q3');
ROLLBACK;
SELECT dtm_barrier_call('msg', 'q3', '00', 'msg', 'INSERT INTO orders VALUES (4)');
SELECT dtm_barrier_query_prepared('msg', 'q3');
-- A local transaction that rolled back has not been.
BEGIN;
SELECT dtm_barrier('msg', 'q4', '00', 'msg');
ROLLBACK;
SELECT dtm_barrier_query_prepared('msg', 'q4');
-- Protected tables are such a local transaction, too.
SELECT dtm_protect('orders');
BEGIN;
SELECT dtm_branch('msg', 'q5', '00', 'msg');
INSERT INTO orders VALUES (5);
COMMIT;
SELECT dtm_barrier_query_prepared('msg', 'q5');
SELECT * FROM refused($$WITH branch AS MATERIALIZED (SELECT dtm_branch('msg', 'q5', '00', 'msg'))
  INSERT INTO orders SELECT 6 FROM branch$$);
SELECT * FROM refused($$WITH branch AS MATERIALIZED (SELECT dtm_branch('msg', 'q2', '00', 'msg'))
  INSERT INTO orders SELECT 6 FROM branch$$);

SELECT id FROM orders ORDER BY id;
SELECT gid, trans_type, branch_id, op, barrier_id, reason FROM dtm_barrier.barrier
 WHERE gid ~ '^q[1-9]$' ORDER BY gid;
DROP TABLE orders;
