-- What only the script has: its limits, its settings, and what it keeps in a setting.
\set SHOW_CONTEXT never
CREATE TABLE account (id int PRIMARY KEY, owner text, balance numeric);
INSERT INTO account VALUES (1, 'ann', 100);

-- The arguments of a call are of one type. An untyped literal takes that of the others.
SELECT dtm_barrier_call('saga', 'l-1', '01', 'action',
                        'UPDATE account SET balance = balance - $1 WHERE id = $2', 1.5, '1');
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'l-1', '02', 'action',
  'UPDATE account SET balance = balance - $1 WHERE owner = $2', 30, 'ann')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'l-1', '02', 'action',
  'UPDATE account SET balance = balance - $1 WHERE owner = $2', 30, 'ann'::text)$$);
-- As text they may be of any.
SELECT dtm_barrier_call('saga', 'l-1', '02', 'action',
  'UPDATE account SET balance = balance - $1 WHERE owner = $2', '30', 'ann');
SELECT * FROM account;
-- Any number.
SELECT dtm_barrier_call('saga', 'l-1', '03', 'action',
  'SELECT ' || (SELECT string_agg('$' || n, ' + ') FROM generate_series(1, 1500) AS n),
  VARIADIC ARRAY(SELECT generate_series(1, 1500)));
SELECT dtm_barrier_call('saga', 'l-1', '04', 'action', 'SELECT 1', VARIADIC '{}'::int[]);
-- Arrays that count from elsewhere, and of two dimensions.
SELECT dtm_barrier_call('saga', 'l-1', '05', 'action',
  'UPDATE account SET balance = $1 + $2', VARIADIC '[5:6]={40,2}'::int[]);
SELECT dtm_barrier_call('saga', 'l-1', '06', 'action',
  'UPDATE account SET balance = balance + $1 + $2', VARIADIC '{{1},{2}}'::int[]);
SELECT balance FROM account;

-- No argument leaves its place, whatever it holds and wherever strings begin and end.
CREATE TABLE noted (n serial, what text);
CREATE FUNCTION note(branch text, statement text, VARIADIC given text[]) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM dtm_barrier_call('saga', 'l-2', branch, 'action',
                           'INSERT INTO noted (what) ' || statement, VARIADIC given);
  RETURN (SELECT what FROM noted ORDER BY n DESC LIMIT 1);
EXCEPTION WHEN syntax_error OR SQLSTATE 'TD001' THEN
  RETURN SQLERRM;
END $$;
SELECT note('01', 'SELECT $1', $$'); DROP TABLE noted; --$$);
SELECT note('02', 'SELECT $1 || $2', '\', E'\n''; é$1');
SELECT note('03', $$SELECT E'\'' || $1 || 'b\'$$, 'a');
SELECT note('04', $$SELECT 'a''$1' || "substr"($1, 1) || E'a\\' || $1$$, '''');
SELECT note('05', $$SELECT E'a' -- '
  '\'$1' || $1$$, 'b');
SELECT note('06', $$SELECT $_é$ '$1' $é$ $_é$ || $1$$, 'c');
SELECT note('07', $$SELECT x$1 || $1 FROM (VALUES ('d')) AS v (x$1)$$, 'e');
SELECT note('08', $$SELECT U&'\00e9' || U&"what" || $1 FROM noted WHERE n = 1$$, 'f');
SELECT note('09', $$SELECT '$1' /* ' /* $1 */ */ || $1 -- '$$, 'g');
SELECT note('10', $$SELECT name'h' || e'\'' || $1$$, 'i');
SELECT note('12', $$SELECT 'never ends $1$$, 'k');
SELECT note('13', $$SELECT /* never ends $1$$, 'k');
SELECT note('14', $$SELECT $a$ never ends $1$$, 'k');
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT note('15', 'SELECT ''it\\''s $1'' || $1', '); DROP TABLE noted; --');
RESET standard_conforming_strings;
RESET escape_string_warning;
SELECT count(*) FROM noted;

-- The setting in which it keeps its notes takes nothing from others.
SELECT dtm_protect('account', true);
BEGIN;
SELECT dtm_branch('saga', 'l-3', '01', 'action');
UPDATE account SET balance = 1;
SELECT current_setting('dtm_barrier.state') AS kept \gset
COMMIT;
-- Set for the session: that of an earlier transaction, garbage, or what could be guessed.
SET dtm_barrier.state = :'kept';
SELECT * FROM refused('UPDATE account SET balance = 2');
SET dtm_barrier.state = 'x';
SELECT * FROM refused('UPDATE account SET balance = 2');
BEGIN;
SELECT set_config('dtm_barrier.state', repeat('0', 64) || substr(:'kept', 65), false) IS NOT NULL;
SELECT * FROM refused('UPDATE account SET balance = 2');
-- What is said properly counts, also over that.
SELECT dtm_branch('saga', 'l-3', '02', 'action');
UPDATE account SET balance = balance + 1;
ROLLBACK;
SET dtm_barrier.state = '';
SELECT * FROM refused('UPDATE account SET balance = 2');
SELECT balance FROM account;
-- A session-level SET in the middle of the transaction loses the branch, it wins none.
BEGIN;
SELECT dtm_branch('saga', 'l-3', '03', 'action');
SET dtm_barrier.state = :'kept';
SELECT * FROM refused('UPDATE account SET balance = 2');
ROLLBACK;
RESET dtm_barrier.state;

-- Settings as text: what a boolean and an age may look like.
SET dtm.strict_barrier = 'yes';
SELECT dtm_barrier('saga', 'l-4', '01', 'compensate');
SELECT left(r, 5) FROM refused($$SELECT dtm_barrier('saga', 'l-4', '01', 'action')$$) AS r LIMIT 1;
SET dtm.strict_barrier = '';
SELECT dtm_barrier('saga', 'l-4', '01', 'action');
RESET dtm.strict_barrier;
BEGIN;
DELETE FROM dtm_barrier.barrier;
INSERT INTO dtm_barrier.barrier (gid, op, create_time)
VALUES ('hours', 'a', now() - interval '3 hours'), ('days', 'a', now() - interval '3 days'),
       ('months', 'a', now() - interval '3 months');
SAVEPOINT s;
SET LOCAL dtm.barrier_retention = 0;
SELECT dtm_barrier_purge();
SET LOCAL dtm.barrier_retention = 7200;
SELECT dtm_barrier_purge();
ROLLBACK TO s;
SET LOCAL dtm.barrier_retention = '2d';
SELECT dtm_barrier_purge();
ROLLBACK TO s;
SELECT dtm_barrier_purge();
ROLLBACK;

-- A search_path full of traps changes nothing, except in the SQL of the caller.
CREATE SCHEMA trap;
CREATE FUNCTION trap.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS
  $$BEGIN RAISE 'trapped'; END$$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.eq);
CREATE FUNCTION trap.eq(regtype, regtype) RETURNS boolean LANGUAGE plpgsql AS
  $$BEGIN RAISE 'trapped'; END$$;
CREATE OPERATOR trap.= (LEFTARG = regtype, RIGHTARG = regtype, FUNCTION = trap.eq);
CREATE FUNCTION trap.gt(int, int) RETURNS boolean LANGUAGE plpgsql AS
  $$BEGIN RAISE 'trapped'; END$$;
CREATE OPERATOR trap.> (LEFTARG = int, RIGHTARG = int, FUNCTION = trap.gt);
CREATE FUNCTION trap.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE plpgsql AS
  $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RAISE 'trapped'; END$$;
CREATE DOMAIN trap.text AS int;
CREATE TABLE trap.account (balance int);
INSERT INTO trap.account VALUES (0);
SELECT dtm_unprotect('account');
SET search_path = trap, pg_catalog, public;
SELECT dtm_barrier('saga', 'l-5', '01', 'action'), dtm_barrier('saga', 'l-5', '01', 'action');
SELECT dtm_barrier_call('saga', 'l-5', '02', 'action', 'UPDATE account SET balance = $1', '3');
SELECT dtm_barrier_call('saga', 'l-5', '03', 'action',
                        'UPDATE account SET balance = balance + $1', 4);
SELECT dtm_protect('account', true);
SELECT count(*) FROM refused('UPDATE account SET balance = 0');
BEGIN;
SELECT dtm_branch('gid=l-5&branch_id=04&op=action&trans_type=saga');
UPDATE account SET balance = balance + 5;
COMMIT;
SELECT dtm_unprotect('account'), dtm_barrier_query_prepared('msg', 'l-5'),
       dtm_barrier_purge('1 year');
SELECT balance FROM account;
RESET search_path;
SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
DROP FUNCTION note;
DROP TABLE account, noted;
