-- Protected tables: code that only writes rows becomes a branch that takes effect at most once.
\set SHOW_CONTEXT never
CREATE VIEW barriers AS
  SELECT gid, branch_id, op, barrier_id, reason FROM dtm_barrier.barrier WHERE gid LIKE 't-%';
CREATE TABLE account (id int PRIMARY KEY, balance numeric NOT NULL, note text);
INSERT INTO account VALUES (1, 100), (2, 100);
SELECT dtm_protect('account');
-- Without a branch everything is as before.
UPDATE account SET balance = balance + 1 WHERE id = 1 RETURNING id, balance;

-- The first call writes, the second is silently skipped.
BEGIN;
SELECT dtm_branch('saga', 't-1', '01', 'action');
UPDATE account SET balance = balance - 30 WHERE id = 1 RETURNING id, balance;
INSERT INTO account VALUES (3, 30) RETURNING id;
DELETE FROM account WHERE id = 2 RETURNING id;
COMMIT;
SELECT * FROM account ORDER BY id;
BEGIN;
SELECT dtm_branch('saga', 't-1', '01', 'action');
UPDATE account SET balance = balance - 30 WHERE id = 1 RETURNING id, balance;
INSERT INTO account VALUES (4, 30) RETURNING id;
DELETE FROM account WHERE id = 3 RETURNING id;
-- The application sees it in the row count only.
WITH u AS (UPDATE account SET balance = 0 RETURNING 1) SELECT count(*) FROM u;
COMMIT;
SELECT * FROM account ORDER BY id;
-- One row for all that the branch wrote: its first write decided.
SELECT * FROM barriers ORDER BY 1, 2, 3, 4;
-- It is undone, once.
BEGIN;
SELECT dtm_branch('saga', 't-1', '01', 'compensate');
UPDATE account SET balance = balance + 30 WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 't-1', '01', 'compensate');
UPDATE account SET balance = balance + 30 WHERE id = 1;
COMMIT;
-- Undone before it came: neither writes.
BEGIN;
SELECT dtm_branch('?op=compensate&gid=t%2D2&trans_type=saga&branch_id=01');
UPDATE account SET balance = balance + 30 WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_branch('http://bank/in?gid=t-2&x=&branch_id=01&op=action&trans_type=saga');
UPDATE account SET balance = balance - 30 WHERE id = 1;
COMMIT;
SELECT * FROM account ORDER BY id;
SELECT * FROM barriers ORDER BY 1, 2, 3, 4;
-- A branch that writes nothing leaves no row.
BEGIN;
SELECT dtm_branch('saga', 't-3', '01', 'action');
UPDATE account SET balance = 0 WHERE id = 17;
SELECT count(*) FROM account;
COMMIT;
SELECT count(*) FROM barriers WHERE gid = 't-3';

-- COPY, MERGE, ON CONFLICT.
BEGIN;
SELECT dtm_branch('saga', 't-4', '01', 'action');
COPY account (id, balance) FROM stdin (DELIMITER ',');
10,10
11,11
\.
MERGE INTO account AS a USING (VALUES (10, 1), (11, 0), (12, 1)) AS s (id, n) ON a.id = s.id
 WHEN MATCHED AND s.n = 0 THEN DELETE
 WHEN MATCHED THEN UPDATE SET balance = balance + s.n
 WHEN NOT MATCHED THEN INSERT (id, balance) VALUES (s.id, s.n);
INSERT INTO account VALUES (12, 5), (13, 5) ON CONFLICT DO NOTHING;
INSERT INTO account VALUES (13, 5), (14, 5)
  ON CONFLICT (id) DO UPDATE SET balance = account.balance + excluded.balance;
COMMIT;
SELECT id, balance FROM account WHERE id >= 10 ORDER BY id;
BEGIN;
SELECT dtm_branch('saga', 't-4', '01', 'action');
COPY account (id, balance) FROM stdin (DELIMITER ',');
20,10
\.
MERGE INTO account AS a USING (VALUES (10, 1), (12, 0), (21, 1)) AS s (id, n) ON a.id = s.id
 WHEN MATCHED AND s.n = 0 THEN DELETE
 WHEN MATCHED THEN UPDATE SET balance = balance + s.n
 WHEN NOT MATCHED THEN INSERT (id, balance) VALUES (s.id, s.n);
INSERT INTO account VALUES (10, 5), (22, 5) ON CONFLICT DO NOTHING;
INSERT INTO account VALUES (13, 5), (23, 5)
  ON CONFLICT (id) DO UPDATE SET balance = account.balance + excluded.balance;
COMMIT;
SELECT id, balance FROM account WHERE id >= 10 ORDER BY id;
SELECT * FROM barriers WHERE gid = 't-4';

-- Savepoints: what was decided in one goes with it, and so does the branch.
BEGIN;
SAVEPOINT a;
SELECT dtm_branch('saga', 't-5', '01', 'action');
UPDATE account SET note = 'a' WHERE id = 1;
ROLLBACK TO a;
UPDATE account SET note = 'no branch' WHERE id = 3;
SELECT count(*) FROM barriers WHERE gid = 't-5';
SELECT dtm_branch('saga', 't-5', '01', 'action');
SAVEPOINT b;
UPDATE account SET note = 'b' WHERE id = 1;
ROLLBACK TO b;
SELECT count(*) FROM barriers WHERE gid = 't-5';
UPDATE account SET note = 'c' WHERE id = 1;
RELEASE b;
SAVEPOINT c;
UPDATE account SET balance = balance + 1000 WHERE id = 1;
ROLLBACK TO c;
UPDATE account SET note = note || 'd' WHERE id = 1;
COMMIT;
SELECT id, note FROM account WHERE id IN (1, 3) ORDER BY id;
SELECT * FROM barriers WHERE gid = 't-5';
-- The branch that was named in a savepoint gives way to the one before.
BEGIN;
SELECT dtm_branch('saga', 't-5', '01', 'action');
SAVEPOINT a;
SELECT dtm_branch('saga', 't-5', '02', 'action');
UPDATE account SET note = '02' WHERE id = 3;
ROLLBACK TO a;
UPDATE account SET note = '01, a duplicate' WHERE id = 3;
COMMIT;
SELECT note FROM account WHERE id = 3;
SELECT branch_id FROM barriers WHERE gid = 't-5';
-- A caught error, the same.
DO $$
BEGIN
  PERFORM dtm_branch('saga', 't-5', '03', 'action');
  BEGIN
    UPDATE account SET note = '03, lost' WHERE id = 3;
    RAISE division_by_zero;
  EXCEPTION WHEN division_by_zero THEN NULL;
  END;
  UPDATE account SET note = note || ', 03' WHERE id = 3;
END $$;
SELECT note FROM account WHERE id = 3;
SELECT branch_id, barrier_id FROM barriers WHERE gid = 't-5' ORDER BY 1, 2;

-- Several branches in one transaction, each decided once.
BEGIN;
SELECT dtm_branch('saga', 't-6', '01', 'action');
UPDATE account SET note = '01' WHERE id = 1;
SELECT dtm_branch('saga', 't-5', '01', 'action');
UPDATE account SET note = 'duplicate' WHERE id = 3;
SELECT dtm_branch('saga', 't-6', '02', 'action');
UPDATE account SET note = '02' WHERE id = 3;
SELECT dtm_branch('saga', 't-6', '01', 'action');
UPDATE account SET note = note || ', still 01' WHERE id = 1;
SELECT dtm_branch('saga', 't-6', '01', 'compensate');
UPDATE account SET note = note || ', undone' WHERE id = 1;
COMMIT;
SELECT id, note FROM account WHERE id IN (1, 3) ORDER BY id;
SELECT * FROM barriers WHERE gid = 't-6' ORDER BY 1, 2, 3, 4;
-- What dtm_barrier() decided holds for the tables; the next barrier counts on.
BEGIN;
SELECT dtm_barrier('saga', 't-7', '01', 'action');
UPDATE account SET note = 'one barrier' WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 't-7', '01', 'action');
UPDATE account SET note = 'again' WHERE id = 1;
SELECT dtm_barrier('saga', 't-7', '01', 'action') AS second;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 't-7', '01', 'action');
SELECT dtm_barrier('saga', 't-7', '01', 'action') AS duplicate;
UPDATE account SET note = 'again' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
SELECT * FROM barriers WHERE gid = 't-7' ORDER BY 1, 2, 3, 4;
-- With a savepoint, what it decided goes, too.
BEGIN;
SAVEPOINT s;
SELECT dtm_barrier('saga', 't-7', '02', 'action');
ROLLBACK TO s;
SELECT dtm_branch('saga', 't-7', '02', 'action');
UPDATE account SET note = '02' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
SELECT branch_id, barrier_id FROM barriers WHERE gid = 't-7' ORDER BY 1, 2;

-- A barrier in the middle of a branch guards its own statement, and the branch goes on: twice.
CREATE FUNCTION nested(t text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  ran boolean;
BEGIN
  PERFORM dtm_branch('saga', t, '01', 'action');
  ran := dtm_barrier_call('saga', t, '02', 'action',
                          'UPDATE account SET note = concat(note, '' 02'') WHERE id = 1');
  UPDATE account SET note = concat(note, ' 01') WHERE id = 1;
  RETURN ran;
END $$;
UPDATE account SET note = '' WHERE id = 1;
SELECT nested('t-20');
SELECT note FROM account WHERE id = 1;
SELECT nested('t-20');
SELECT note FROM account WHERE id = 1;
SELECT * FROM barriers WHERE gid = 't-20' ORDER BY 1, 2, 3, 4;
-- Without a branch before, there is none after; so also when the statement fails.
BEGIN;
SELECT dtm_barrier_call('saga', 't-21', '01', 'action',
                        'UPDATE account SET note = ''t-21'' WHERE id = 1');
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 't-21', '02', 'action',
                                                'SELECT 1 / (balance - balance) FROM account')$$);
UPDATE account SET note = note || ', no branch' WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_barrier_call('saga', 't-21', '01', 'action',
                        'UPDATE account SET note = ''t-21'' WHERE id = 1');
UPDATE account SET note = note || ', nor now' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
-- One in the other.
BEGIN;
SELECT dtm_barrier_call('saga', 't-22', '01', 'action', $sql$
  SELECT dtm_barrier_call('saga', 't-22', '02', 'action',
                          'UPDATE account SET note = ''02'' WHERE id = 1') $sql$);
SELECT dtm_barrier_call('saga', 't-22', '03', 'action', $sql$DO $do$BEGIN
  PERFORM dtm_barrier_call('saga', 't-5', '01', 'action', 'DELETE FROM account');
  UPDATE account SET note = note || ', 03' WHERE id = 1;
END$do$ $sql$);
COMMIT;
SELECT note FROM account WHERE id = 1;
BEGIN;
SELECT dtm_barrier_call('saga', 't-22', '04', 'action', $sql$DO $do$BEGIN
  BEGIN
    PERFORM dtm_barrier_call('saga', 't-22', '05', 'action',
                             'UPDATE account SET note = (1 / (balance - balance))::text');
  EXCEPTION WHEN division_by_zero THEN NULL;
  END;
  UPDATE account SET note = note || ', 04' WHERE id = 1;
END$do$ $sql$);
COMMIT;
SELECT note FROM account WHERE id = 1;
SELECT branch_id, barrier_id FROM barriers WHERE gid = 't-22' ORDER BY 1, 2;
-- A dtm_branch() in the statement wins, and stays.
BEGIN;
SELECT dtm_branch('saga', 't-23', '01', 'action');
SELECT dtm_barrier_call('saga', 't-23', '02', 'action', $sql$DO $do$BEGIN
  UPDATE account SET note = 'call' WHERE id = 1;
  PERFORM dtm_branch('saga', 't-5', '01', 'action');
  UPDATE account SET note = note || ', skipped' WHERE id = 1;
END$do$ $sql$);
UPDATE account SET note = note || ', skipped, too' WHERE id = 1;
SELECT dtm_branch('saga', 't-23', '01', 'action');
UPDATE account SET note = note || ', branch' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
SELECT branch_id, barrier_id FROM barriers WHERE gid = 't-23' ORDER BY 1, 2;
-- A dtm_barrier() in it names nobody beyond it.
BEGIN;
SELECT dtm_barrier_call('saga', 't-29', '01', 'action',
                        $$SELECT dtm_barrier('saga', 't-5', '01', 'action')$$);
UPDATE account SET note = 'no branch' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;

-- Whoever goes on after dtm_barrier() said false writes nothing to protected tables.
BEGIN;
SELECT dtm_barrier('saga', 't-24', '01', 'action') AS run;
UPDATE account SET note = 't-24' WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_barrier('saga', 't-24', '01', 'action') AS duplicate;
UPDATE account SET note = 't-24, twice' WHERE id = 1;
SELECT * FROM refused('TRUNCATE account');
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 't-24', '02', 'compensate');
UPDATE account SET note = 't-24, empty' WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_barrier_verdict('saga', 't-24', '02', 'action');
UPDATE account SET note = 't-24, hanging' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
-- Two branches in one transaction: what is written is that of the last one.
BEGIN;
SELECT dtm_barrier('saga', 't-25', '01', 'action') AS run;
UPDATE account SET note = '01' WHERE id = 1;
SELECT dtm_barrier('saga', 't-24', '01', 'action') AS duplicate;
UPDATE account SET note = note || ', skipped' WHERE id = 1;
SELECT dtm_barrier('saga', 't-25', '02', 'action') AS run;
UPDATE account SET note = note || ', 02' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
-- But dtm_branch() is meant so: no barrier replaces its branch, another dtm_branch() does.
BEGIN;
SELECT dtm_branch('saga', 't-26', '01', 'action');
SELECT dtm_barrier('saga', 't-24', '01', 'action') AS duplicate;
UPDATE account SET note = '01' WHERE id = 1;
SELECT dtm_branch('saga', 't-24', '01', 'action');
SELECT dtm_barrier('saga', 't-26', '02', 'action') AS run;
UPDATE account SET note = note || ', skipped' WHERE id = 1;
SELECT dtm_branch('saga', 't-26', '02', 'action');
UPDATE account SET note = note || ', 02' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
SELECT branch_id, barrier_id FROM barriers WHERE gid = 't-26' ORDER BY 1, 2;
-- And it replaces that of a barrier. The last decision about a branch counts.
BEGIN;
SELECT dtm_barrier('saga', 't-24', '01', 'action') AS duplicate;
SELECT dtm_branch('saga', 't-27', '01', 'action');
UPDATE account SET note = 't-27' WHERE id = 1;
SELECT dtm_barrier('saga', 't-27', '01', 'action', '01') AS duplicate;
UPDATE account SET note = 't-27, skipped' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
-- A savepoint takes back who is named, also by a barrier that said false.
BEGIN;
SELECT dtm_barrier('saga', 't-28', '01', 'action') AS run;
SAVEPOINT s;
SELECT dtm_barrier('saga', 't-24', '01', 'action') AS duplicate;
UPDATE account SET note = 'skipped' WHERE id = 1;
ROLLBACK TO s;
UPDATE account SET note = 't-28' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
DROP FUNCTION nested;

-- What an earlier transaction left is nothing to the next, on the same connection.
BEGIN;
SELECT dtm_branch('saga', 't-8', '01', 'action');
UPDATE account SET note = 't-8' WHERE id = 1;
COMMIT;
UPDATE account SET note = note || ', next' WHERE id = 1;
BEGIN;
SELECT dtm_branch('saga', 't-8', '01', 'action');
ROLLBACK;
BEGIN;
UPDATE account SET note = note || ', third' WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 't-8', '01', 'action');
PREPARE TRANSACTION 't-8';
UPDATE account SET note = note || ', fourth' WHERE id = 1;
COMMIT PREPARED 't-8';
SELECT note FROM account WHERE id = 1;
SELECT * FROM barriers WHERE gid = 't-8';

-- TRUNCATE cannot be skipped for single rows.
CREATE TABLE scratch (id int);
SELECT dtm_protect('scratch');
INSERT INTO scratch VALUES (1);
BEGIN;
SELECT dtm_branch('saga', 't-9', '01', 'action');
TRUNCATE scratch;
SELECT count(*) FROM scratch;
ROLLBACK;
BEGIN;
SELECT dtm_branch('saga', 't-9', '01', 'action');
INSERT INTO scratch VALUES (2);
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 't-9', '01', 'action');
SELECT * FROM refused('TRUNCATE scratch');
SELECT * FROM refused('TRUNCATE account, scratch');
DELETE FROM scratch;
COMMIT;
SELECT id FROM scratch ORDER BY id;
TRUNCATE scratch;
SELECT count(*) FROM scratch;

-- One UPDATE of many rows asks once.
INSERT INTO scratch SELECT generate_series(1, 1000);
BEGIN;
SELECT dtm_branch('saga', 't-10', '01', 'action');
UPDATE scratch SET id = id + 1;
INSERT INTO scratch SELECT generate_series(2001, 2500);
COMMIT;
SELECT count(*), min(id), max(id) FROM scratch;
SELECT * FROM barriers WHERE gid = 't-10';
BEGIN;
SELECT dtm_branch('saga', 't-10', '01', 'action');
UPDATE scratch SET id = 0;
DELETE FROM scratch;
COMMIT;
SELECT count(*), min(id), max(id) FROM scratch;

-- The barrier comes before the table's own triggers: they do not see what is skipped.
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN
  NEW.note = concat(NEW.note, ' ', TG_NAME); RAISE NOTICE '% %', TG_OP, NEW.id; RETURN NEW;
END$$;
CREATE TRIGGER "000" BEFORE UPDATE ON account FOR EACH ROW WHEN (false) EXECUTE FUNCTION noted();
CREATE TRIGGER a BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION noted();
BEGIN;
SELECT dtm_branch('saga', 't-11', '01', 'action');
UPDATE account SET note = 'run' WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 't-11', '01', 'action');
UPDATE account SET note = 'not run' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;

-- Not protected any more.
SELECT dtm_unprotect('account');
SELECT * FROM refused($$SELECT dtm_unprotect('account')$$);
BEGIN;
SELECT dtm_branch('saga', 't-11', '01', 'action');
UPDATE account SET note = 'unprotected' WHERE id = 1;
COMMIT;
SELECT note FROM account WHERE id = 1;
DROP VIEW barriers;
DROP TABLE account, scratch;
DROP FUNCTION noted;
