-- dtm_barrier_call: one statement as a branch call, at most once.
CREATE TABLE account (id int PRIMARY KEY, owner varchar(20), balance numeric, opened date,
  tags text[]);
INSERT INTO account VALUES (1, 'ann', 100, '2026-01-01', '{}'), (2, 'bob', 100, '2026-01-01', '{}');

-- Twice the same call, one effect.
BEGIN;
SELECT dtm_barrier_call('saga', 'c1', '01', 'action',
                        'UPDATE account SET balance = balance - 30 WHERE id = 1');
COMMIT;
BEGIN;
SELECT dtm_barrier_call('saga', 'c1', '01', 'action',
                        'UPDATE account SET balance = balance - 30 WHERE id = 1');
COMMIT;
SELECT id, balance FROM account ORDER BY id;
-- It may be the whole statement: the effect stands in the same transaction.
SELECT dtm_barrier_call('saga', 'c1', '02', 'action',
                        'UPDATE account SET balance = balance + 30 WHERE id = 2;');
SELECT dtm_barrier_call('saga', 'c1', '02', 'action',
                        'UPDATE account SET balance = balance + 30 WHERE id = 2;');
SELECT id, balance FROM account ORDER BY id;
-- Undone once; undone before it came: neither runs.
SELECT dtm_barrier_call('saga', 'c1', '01', 'compensate',
                        'UPDATE account SET balance = balance + 30 WHERE id = 1');
SELECT dtm_barrier_call('saga', 'c1', '01', 'compensate',
                        'UPDATE account SET balance = balance + 30 WHERE id = 1');
SELECT dtm_barrier_call('saga', 'c1', '03', 'compensate',
                        'UPDATE account SET balance = balance + 30 WHERE id = 1');
SELECT dtm_barrier_call('saga', 'c1', '03', 'action',
                        'UPDATE account SET balance = balance - 30 WHERE id = 1');
SELECT id, balance FROM account ORDER BY id;
SELECT branch_id, op, barrier_id, reason FROM dtm_barrier.barrier WHERE gid = 'c1'
 ORDER BY branch_id, op COLLATE "C";

-- Arguments that are literals or text take the type of their place.
SELECT dtm_barrier_call('saga', 'c2', '01', 'action',
  'UPDATE account SET balance = balance - $1, opened = $2, tags = tags || $3::text[],
          owner = $4 || owner WHERE id = $5',
  '0.5', '2026-02-03', '{a,"b c"}', 'Mr ', '1');
SELECT * FROM account ORDER BY id;
-- Also where one is used twice, and in any order; and they may be anything.
SELECT dtm_barrier_call('saga', 'c2', '02', 'action',
  'INSERT INTO account (owner, id, balance) SELECT $2, $1, 3 WHERE $1 + 4 = $3',
  '3', $$O'Neil \' -- $1 /* ; $$, '7');
SELECT id, owner, balance FROM account WHERE id = 3;
SELECT dtm_barrier_call('saga', 'c2', '03', 'action', 'UPDATE account SET owner = $1 WHERE id = $2',
                        NULL::text, '3');
SELECT dtm_barrier_call('saga', 'c2', '04', 'action',
                        'UPDATE account SET tags = ARRAY[$1, owner] WHERE id = $2', '', '3');
SELECT id, owner, tags FROM account WHERE id = 3;
-- As an array.
SELECT dtm_barrier_call('saga', 'c2', '05', 'action', 'DELETE FROM account WHERE id = $1 AND $2',
                        VARIADIC ARRAY['3', 'true']);
SELECT count(*) FROM account;
-- No text: taken as they are.
SELECT dtm_barrier_call('saga', 'c2', '06', 'action',
                        'UPDATE account SET balance = balance - $1 WHERE id = $2', 5, 2);
SELECT dtm_barrier_call('saga', 'c2', '07', 'action',
                        'UPDATE account SET opened = $1 + 1 WHERE opened = $1', '2026-01-01'::date);
SELECT dtm_barrier_call('saga', 'c2', '08', 'action',
                        'UPDATE account SET owner = jsonb_typeof($1) WHERE id = 2', '{}'::jsonb);
SELECT id, owner, balance, opened FROM account ORDER BY id;
-- More of them than a function can have.
CREATE VIEW plus AS SELECT string_agg('$' || n, ' + ') AS all_150,
       string_agg('$' || n, ' + ') FILTER (WHERE n <> 120) AS all_but_one
  FROM generate_series(1, 150) AS n;
SELECT dtm_barrier_call('saga', 'c2', '10', 'action',
                        'UPDATE account SET balance = ' || all_150 || ' WHERE id = 2',
                        VARIADIC ARRAY(SELECT generate_series(1, 150))) FROM plus;
SELECT balance FROM account WHERE id = 2;
SELECT dtm_barrier_call('saga', 'c2', '11', 'action',
                        'UPDATE account SET balance = 0.5 + ' || all_150 || ' WHERE id = 2',
                        VARIADIC ARRAY(SELECT generate_series(1, 150)::text)) FROM plus;
SELECT balance FROM account WHERE id = 2;
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'c2', '12', 'action',
  'SELECT ' || all_but_one, VARIADIC ARRAY(SELECT generate_series(1, 150))) FROM plus$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'c2', '12', 'action',
  'SELECT ' || all_150, VARIADIC ARRAY(SELECT generate_series(1, 149))) FROM plus$$);
DROP VIEW plus;
UPDATE account SET balance = 125 WHERE id = 2;
-- Wherever an expression may stand.
SELECT dtm_barrier_call('saga', 'c2', '13', 'action',
  'UPDATE account SET tags = ARRAY[$1::text] FROM (SELECT $2 AS id ORDER BY $3 LIMIT $4) AS a
    WHERE account.id = a.id AND account.id IN ($5) AND $6 BETWEEN $7 AND $8',
  7, 2, 3, 1, 2, 2, 1, 3);
SELECT dtm_barrier_call('saga', 'c2', '14', 'action',
  'UPDATE account SET tags = tags || $1.owner::text WHERE id = ($1).id', account)
  FROM account WHERE id = 2;
SELECT tags FROM account WHERE id = 2;
-- The type of a place may change between two calls.
CREATE TABLE place (what int);
CREATE FUNCTION put(branch text, what text) RETURNS boolean LANGUAGE sql AS $$
  SELECT dtm_barrier_call('saga', 'c2-type', branch, 'action', 'INSERT INTO place VALUES ($1)',
                          what)
$$;
SELECT put('01', '7');
SELECT * FROM refused($$SELECT put('02', '1.5')$$);
ALTER TABLE place ALTER what TYPE numeric;
SELECT put('02', '1.5');
ALTER TABLE place ALTER what TYPE text;
SELECT put('03', 'some text');
SELECT * FROM place;
DROP TABLE place;
CREATE TABLE place (what date);
SELECT * FROM refused($$SELECT put('04', 'some text')$$);
SELECT put('04', '2026-01-02');
SELECT * FROM place;
DROP TABLE place;
DROP FUNCTION put;
-- $1 in strings, names and comments is no parameter.
SELECT dtm_barrier_call('saga', 'c2', '09', 'action',
  $sql$UPDATE account AS "$2;""'" SET owner = '$3' || E'\'$4' || $t$;$5$t$ || $1 /* $6 /* $7 */ ; */
        WHERE id = 2 -- ; $8$sql$, '!');
SELECT owner FROM account WHERE id = 2;

-- What it runs: any statement that one function may run.
SELECT dtm_barrier_call('saga', 'c3', '01', 'action', 'SELECT count(*) FROM account');
SELECT dtm_barrier_call('saga', 'c3', '02', 'action', 'VALUES (1), (2)');
SELECT dtm_barrier_call('saga', 'c3', '03', 'action',
  'WITH gone AS (DELETE FROM account WHERE id = $1 RETURNING *)
   INSERT INTO account SELECT id + 1, owner, balance FROM gone', '2');
SELECT dtm_barrier_call('saga', 'c3', '04', 'action',
  'MERGE INTO account AS a USING (VALUES (3), (4)) AS s (id) ON a.id = s.id
   WHEN MATCHED THEN UPDATE SET balance = balance + 1
   WHEN NOT MATCHED THEN INSERT (id, balance) VALUES (s.id, 0)');
CREATE PROCEDURE open_account(id int, balance numeric) LANGUAGE sql AS
  'INSERT INTO account (id, balance) VALUES ($1, $2)';
SELECT dtm_barrier_call('saga', 'c3', '05', 'action', 'CALL open_account($1, $2)', '5', '50');
SELECT dtm_barrier_call('saga', 'c3', '06', 'action',
                        'DO $$BEGIN UPDATE account SET owner = ''x'' WHERE id = 5; END$$');
SELECT dtm_barrier_call('saga', 'c3', '07', 'action',
                        'CREATE TEMPORARY TABLE made AS SELECT 1 AS one');
SELECT one FROM made;
SELECT id, owner, balance FROM account ORDER BY id;

-- An error of the SQL takes the barrier's row with it: the call may come again.
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'c4', '01', 'action', 'SELECT 1 / 0')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'c4', '01', 'action',
  'UPDATE account SET balance = $1', 'much')$$);
SELECT count(*) FROM dtm_barrier.barrier WHERE gid = 'c4';
SELECT dtm_barrier_call('saga', 'c4', '01', 'action', 'SELECT 1');
-- So does the error of a statement that was caught, with the count.
BEGIN;
SELECT dtm_barrier_call('saga', 'c4', '02', 'action',
                        'UPDATE account SET balance = 1 WHERE id = 1');
SAVEPOINT s;
SELECT dtm_barrier_call('saga', 'c4', '02', 'action',
                        'UPDATE account SET balance = 2 WHERE id = 1');
ROLLBACK TO s;
SELECT dtm_barrier_call('saga', 'c4', '02', 'action',
                        'UPDATE account SET balance = 3 WHERE id = 1');
COMMIT;
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'c4' ORDER BY 1, 2;
SELECT balance FROM account WHERE id = 1;
-- A barrier in a barrier.
CREATE FUNCTION pay(amount text) RETURNS boolean LANGUAGE sql AS $$
  SELECT dtm_barrier_call('saga', 'c5', '01', 'action', 'UPDATE account SET balance = balance - $1',
                          amount)
$$;
SELECT dtm_barrier_call('saga', 'c5', '01', 'action', 'SELECT pay($1)', '1');
SELECT dtm_barrier_call('saga', 'c5', '01', 'action', 'SELECT pay($1)', '1');
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'c5' ORDER BY 1, 2;
SELECT balance FROM account WHERE id = 1;

-- The SQL has the rights and the search_path of the caller.
CREATE ROLE regress_branch;
DO $$
BEGIN  -- the extension, or the script
  IF to_regproc('dtm_barrier.begin_call') IS NULL THEN
    PERFORM dtm_grant('regress_branch', 'barrier');
  ELSE
    GRANT USAGE ON SCHEMA dtm_barrier TO regress_branch;
    GRANT EXECUTE ON FUNCTION dtm_barrier.begin_call, dtm_barrier.end_call,
      dtm_barrier_call(text, text, text, text, text) TO regress_branch;
  END IF;
END $$;
CREATE SCHEMA own AUTHORIZATION regress_branch;
CREATE TABLE own.account (id int, who text DEFAULT current_user);
ALTER TABLE own.account OWNER TO regress_branch;
SET ROLE regress_branch;
SELECT * FROM refused(
  $$SELECT dtm_barrier_call('saga', 'c6', '01', 'action', 'DELETE FROM account')$$);
SET search_path = own, public;
SELECT dtm_barrier_call('saga', 'c6', '01', 'action', 'INSERT INTO account VALUES (1)');
SELECT * FROM own.account;
RESET search_path;
RESET ROLE;
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'c6';
DROP SCHEMA own CASCADE;
DROP OWNED BY regress_branch;
DROP ROLE regress_branch;
DROP FUNCTION pay;
DROP PROCEDURE open_account;
DROP TABLE account, made;
