-- Running the script again updates the functions and keeps rows, grants and triggers; see what its
-- header says about granting and removing.
\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
\set ECHO none
\cd :abs_srcdir/../../src/script
\set content `cat dtm_pg_barrier.sql`
-- The GRANT and DROP statements of its header.
\set grants `sed -n '/^--     GRANT/,/;$/{s/^-- //;p}' dtm_pg_barrier.sql`
\set removal `sed -n '/^--     DROP/,/;/{s/^-- //;s/;.*/;/;p}' dtm_pg_barrier.sql`
\set ECHO all
CREATE ROLE app;
CREATE ROLE owner;
CREATE ROLE sweeper;
:grants
GRANT EXECUTE ON FUNCTION dtm_barrier_purge TO sweeper;
CREATE TABLE account (id int PRIMARY KEY, balance int);
ALTER TABLE account OWNER TO owner;
INSERT INTO account VALUES (1, 100);
GRANT SELECT, UPDATE ON account TO app;
SET ROLE owner;
SELECT dtm_protect('account', true);

SET ROLE app;
-- Everything that a branch needs, and no right on the table of barriers.
SELECT dtm_barrier_call('saga', 'o-1', '01', 'action', 'UPDATE account SET balance = balance - 1');
SELECT dtm_barrier_call('saga', 'o-1', '02', 'action', 'UPDATE account SET balance = balance - $1',
                        '2');
BEGIN;
SELECT dtm_branch('saga', 'o-1', '03', 'action');
UPDATE account SET balance = balance - 3;
SELECT dtm_branch('gid=o-1&branch_id=04&op=action&trans_type=saga');
UPDATE account SET balance = balance - 4;
SELECT dtm_barrier('saga', 'o-1', '05', 'action'),
       dtm_barrier_verdict('saga', 'o-1', '06', 'action'),
       dtm_barrier_query_prepared('msg', 'o-2');
COMMIT;
SELECT * FROM account;
SELECT * FROM refused('SELECT count(*) FROM dtm_barrier.barrier');
SELECT * FROM refused('SELECT key FROM dtm_barrier.state_key');
SELECT * FROM refused('SELECT dtm_barrier_purge()');
SELECT * FROM refused($$SELECT dtm_barrier.keep_state('{}')$$);
RESET ROLE;

CREATE VIEW everything AS
  SELECT (SELECT count(*) FROM dtm_barrier.barrier) AS rows,
         (SELECT md5(string_agg(oid::regprocedure || coalesce(proacl::text, ''), ' ' ORDER BY oid))
            FROM pg_proc WHERE proname LIKE 'dtm\_%' OR pronamespace = 'dtm_barrier'::regnamespace)
           AS functions_and_grants,
         (SELECT key FROM dtm_barrier.state_key) AS key,
         (SELECT count(*) FROM pg_trigger WHERE tgname ~ '^00_dtm') AS triggers;
-- A grant to PUBLIC is somebody's wish, too.
GRANT EXECUTE ON FUNCTION dtm_barrier_verdict TO PUBLIC;
CREATE TABLE before AS SELECT * FROM everything;
-- One of its functions is older: it is brought up to date.
SET ROLE regress_installer;
CREATE OR REPLACE FUNCTION dtm_barrier.list(words text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$SELECT 'old'$$;
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
RESET ROLE;
SELECT before = everything AS unchanged FROM before, everything;
SELECT dtm_barrier.list('{a,b,c}');
SET ROLE app;
SELECT dtm_barrier_call('saga', 'o-1', '01', 'action', 'UPDATE account SET balance = balance - 1');
RESET ROLE;
-- A role that did not install it cannot replace it.
SET ROLE app;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
RESET ROLE;
SELECT before = everything AS unchanged FROM before, everything;

-- Into another schema: a second set of functions, the same barrier.
CREATE SCHEMA "Other one" AUTHORIZATION regress_installer;
SET ROLE regress_installer;
SET search_path = "Other one";
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
RESET search_path;
RESET ROLE;
SELECT count(*), count(*) FILTER (WHERE has_function_privilege('public', oid, 'EXECUTE')) AS public
  FROM pg_proc WHERE pronamespace = '"Other one"'::regnamespace;
SELECT "Other one".dtm_barrier('saga', 'o-1', '01', 'action');
SET client_min_messages = warning;
DROP SCHEMA "Other one" CASCADE;
RESET client_min_messages;

-- Removing it leaves the rows. Triggers of protected tables go, and with them the protection.
DROP VIEW everything;
DROP TABLE before;
BEGIN;
SET client_min_messages = warning;
:removal
SELECT count(*) FROM pg_proc WHERE proname LIKE 'dtm\_%';
SELECT to_regnamespace('dtm_barrier');
UPDATE account SET balance = 0;
ROLLBACK;
DROP TABLE account;
DROP OWNED BY app, owner, sweeper;
DROP ROLE app, owner, sweeper;
