-- The script and the extension take turns in one database: each finds the rows of the other. Needs
-- the files of the extension on the server.
\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
\set ECHO none
\cd :abs_srcdir/../../src/script
\set content `cat dtm_pg_barrier.sql`
-- Its header says how to remove it; the last statement would take the rows.
\set removal `sed -n '/^--     DROP [^S]/,/;/{s/^-- //;s/;.*/;/;p}' dtm_pg_barrier.sql`
\set which 'SELECT lanname FROM pg_proc JOIN pg_language AS l ON l.oid = prolang WHERE proname = '
SELECT current_database() AS here \gset
\set ECHO all
CREATE DATABASE regress_exchange TEMPLATE template0;
\c regress_exchange
SET client_min_messages = warning;
CREATE TABLE account (id int PRIMARY KEY, balance int);
INSERT INTO account VALUES (1, 100);

-- 1. The script writes.
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
:which 'dtm_barrier_verdict';
BEGIN;
SELECT dtm_barrier('saga', 's1', '01', 'action') AS run,
       dtm_barrier('saga', 's1', '02', 'compensate') AS empty,
       dtm_barrier('saga', 's1', '03', 'action') AS run,
       dtm_barrier('saga', 's1', '03', 'action') AS second;
SELECT dtm_barrier('msg', 's2', '00', 'msg');
SELECT dtm_barrier_query_prepared('msg', 's3');
COMMIT;
SELECT dtm_barrier_call('tcc', 's4', '01', 'try',
                        'UPDATE account SET balance = balance - $1', '1');
SELECT dtm_protect('account');
BEGIN;
SELECT dtm_branch('saga', 's5', '01', 'action');
UPDATE account SET balance = balance - 2;
COMMIT;
CREATE TABLE written AS SELECT * FROM dtm_barrier.barrier;
SELECT count(*) FROM written;

-- 2. The extension reads them, and writes.
:removal
CREATE EXTENSION dtm_pg;
:which 'dtm_barrier_verdict';
-- It has the functions; the script says so and changes nothing.
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
:which 'dtm_barrier_verdict';
BEGIN;
SELECT dtm_barrier_verdict('saga', 's1', '01', 'action') AS s1_1,
       dtm_barrier_verdict('saga', 's1', '02', 'action') AS s1_2,
       dtm_barrier_verdict('saga', 's1', '02', 'compensate') AS s1_2c;
SELECT dtm_barrier_verdict('saga', 's1', '03', 'action') AS first,
       dtm_barrier_verdict('saga', 's1', '03', 'action') AS second,
       dtm_barrier_verdict('saga', 's1', '03', 'action') AS third;
SELECT dtm_barrier_query_prepared('msg', 's2') AS s2, dtm_barrier_query_prepared('msg', 's3') AS s3;
ROLLBACK;
SELECT dtm_barrier_call('tcc', 's4', '01', 'try',
                        'UPDATE account SET balance = balance - $1', '1');
SELECT dtm_barrier_call('tcc', 's4', '01', 'cancel',
                        'UPDATE account SET balance = balance + $1', '1');
SELECT dtm_protect('account');
BEGIN;
SELECT dtm_branch('saga', 's5', '01', 'action');
UPDATE account SET balance = balance - 2;
COMMIT;
SELECT * FROM account;
-- What was there is as it was.
SELECT count(*) FROM (SELECT * FROM written EXCEPT SELECT * FROM dtm_barrier.barrier) AS lost;

BEGIN;
SELECT dtm_barrier('saga', 'e1', '01', 'action') AS run,
       dtm_barrier('saga', 'e1', '02', 'compensate') AS empty,
       dtm_barrier('saga', 'e1', '03', 'action') AS run,
       dtm_barrier('saga', 'e1', '03', 'action') AS second;
SELECT dtm_barrier('msg', 'e2', '00', 'msg');
SELECT dtm_barrier_query_prepared('msg', 'e3');
COMMIT;
SELECT dtm_barrier_call('tcc', 'e4', '01', 'try',
                        'UPDATE account SET balance = balance - $1', '10');
BEGIN;
SELECT dtm_branch('saga', 'e5', '01', 'action');
UPDATE account SET balance = balance - 20;
COMMIT;
SELECT * FROM account;
TRUNCATE written;
INSERT INTO written SELECT * FROM dtm_barrier.barrier;
SELECT count(*) FROM written;

-- 3. The script reads what the extension wrote. The table was adopted, so it stays.
DROP EXTENSION dtm_pg CASCADE;
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
:which 'dtm_barrier_verdict';
BEGIN;
SELECT dtm_barrier_verdict('saga', 'e1', '01', 'action') AS e1_1,
       dtm_barrier_verdict('saga', 'e1', '02', 'action') AS e1_2,
       dtm_barrier_verdict('saga', 'e1', '02', 'compensate') AS e1_2c;
SELECT dtm_barrier_verdict('saga', 'e1', '03', 'action') AS first,
       dtm_barrier_verdict('saga', 'e1', '03', 'action') AS second,
       dtm_barrier_verdict('saga', 'e1', '03', 'action') AS third;
SELECT dtm_barrier_query_prepared('msg', 'e2') AS e2, dtm_barrier_query_prepared('msg', 'e3') AS e3;
ROLLBACK;
SELECT dtm_barrier_call('tcc', 'e4', '01', 'try',
                        'UPDATE account SET balance = balance - $1', '10');
SELECT dtm_barrier_call('tcc', 'e4', '01', 'cancel',
                        'UPDATE account SET balance = balance + $1', '10');
SELECT dtm_barrier_call('tcc', 's4', '01', 'cancel',
                        'UPDATE account SET balance = balance + $1', '1');
SELECT dtm_protect('account');
BEGIN;
SELECT dtm_branch('saga', 'e5', '01', 'action');
UPDATE account SET balance = balance - 20;
COMMIT;
SELECT * FROM account;
SELECT count(*) FROM (SELECT * FROM written EXCEPT SELECT * FROM dtm_barrier.barrier) AS lost;
SELECT gid, branch_id, op, barrier_id, reason, trans_type FROM dtm_barrier.barrier
 ORDER BY gid, branch_id, op, barrier_id;
\c :here
DROP DATABASE regress_exchange WITH (FORCE);
