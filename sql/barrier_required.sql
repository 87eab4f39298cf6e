-- Tables that are written with a branch only: per table, or by dtm.barrier_required.
\set SHOW_CONTEXT never
CREATE TABLE account (id int PRIMARY KEY, balance int);
INSERT INTO account VALUES (1, 100);
SELECT dtm_protect('account', true);
SELECT * FROM refused('INSERT INTO account VALUES (2, 0)');
SELECT * FROM refused('UPDATE account SET balance = 0');
SELECT * FROM refused('DELETE FROM account');
SELECT * FROM refused('TRUNCATE account');
SELECT left(r, 5) FROM refused('INSERT INTO account VALUES (1, 0) ON CONFLICT DO NOTHING') AS r
 LIMIT 1;
COPY account FROM stdin (DELIMITER ',');
2,0
\.
-- What writes nothing is not refused.
SELECT * FROM refused('UPDATE account SET balance = 0 WHERE id = 17');
SELECT * FROM refused('SELECT id FROM account FOR UPDATE');
-- With a branch it is written, once.
BEGIN;
SELECT dtm_branch('saga', 'r-1', '01', 'action');
UPDATE account SET balance = balance - 1;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 'r-1', '01', 'action');
UPDATE account SET balance = balance - 1;
COMMIT;
SELECT * FROM account;
-- The branch of an earlier transaction is none, and neither is one that was rolled back.
SELECT * FROM refused('UPDATE account SET balance = 0');
BEGIN;
SAVEPOINT s;
SELECT dtm_branch('saga', 'r-1', '02', 'action');
ROLLBACK TO s;
SELECT * FROM refused('UPDATE account SET balance = 0');
ROLLBACK;
-- What went through a barrier writes for its branch: once.
BEGIN;
SELECT dtm_barrier('saga', 'r-2', '01', 'action');
UPDATE account SET balance = balance - 1;
COMMIT;
SELECT dtm_barrier_call('saga', 'r-2', '02', 'action', 'UPDATE account SET balance = balance - 1');
BEGIN;
SELECT dtm_barrier('saga', 'r-2', '01', 'action') AS duplicate;
SELECT * FROM refused('UPDATE account SET balance = 0');
ROLLBACK;
SELECT dtm_barrier_call('saga', 'r-2', '02', 'action', 'UPDATE account SET balance = balance - 1');
SELECT * FROM account;
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'r-2' ORDER BY 1, 2;

-- The option follows the setting, unless the table has its own.
SET dtm.barrier_required = on;
CREATE TABLE follows (id int);
CREATE TABLE never (id int);
CREATE TABLE unprotected (id int);
SELECT dtm_protect('follows'), dtm_protect('never', false);
SELECT * FROM refused('INSERT INTO follows VALUES (1)');
SELECT * FROM refused('INSERT INTO never VALUES (1)');
SELECT * FROM refused('INSERT INTO unprotected VALUES (1)');
SET dtm.barrier_required = off;
SELECT * FROM refused('INSERT INTO follows VALUES (1)');
SELECT * FROM refused('UPDATE account SET balance = 0');
-- Protecting again changes the option.
SELECT dtm_protect('account');
SELECT * FROM refused('UPDATE account SET balance = 7');
SELECT dtm_protect('account', barrier_required => true);
SELECT * FROM refused('UPDATE account SET balance = 8');
SELECT * FROM account;
-- Partitions and cascades are tables, too.
CREATE TABLE sale (id int) PARTITION BY LIST (id);
CREATE TABLE sale_1 PARTITION OF sale FOR VALUES IN (1);
SELECT dtm_protect('sale', true);
SELECT r FROM refused('INSERT INTO sale VALUES (1)') AS r;
CREATE TABLE entry (account int REFERENCES account ON DELETE CASCADE);
INSERT INTO entry VALUES (1);
SELECT dtm_protect('entry', true), dtm_unprotect('account');
SELECT * FROM refused('DELETE FROM account');
SELECT count(*) FROM account;
RESET dtm.barrier_required;
DROP TABLE entry, account, follows, never, unprotected, sale;
