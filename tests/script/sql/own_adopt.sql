-- The script finds a table dtm_barrier.barrier: it takes it with its rows, or refuses clearly and
-- changes nothing.
\set SHOW_CONTEXT never
\getenv abs_srcdir PG_ABS_SRCDIR
\set ECHO none
\set content `cat :abs_srcdir/../../src/script/dtm_pg_barrier.sql`
SELECT current_database() AS here \gset
\set ECHO all
CREATE DATABASE regress_adopt TEMPLATE template0;
\c regress_adopt
SET client_min_messages = notice;
-- As a Go service makes it, with what it wrote.
CREATE SCHEMA dtm_barrier;
CREATE SEQUENCE dtm_barrier.barrier_seq;
CREATE TABLE dtm_barrier.barrier (
  id bigint NOT NULL DEFAULT nextval('dtm_barrier.barrier_seq'),
  trans_type varchar(45) DEFAULT '', gid varchar(128) DEFAULT '', branch_id varchar(128) DEFAULT '',
  op varchar(45) DEFAULT '', barrier_id varchar(45) DEFAULT '', reason varchar(45) DEFAULT '',
  create_time timestamp(0) with time zone DEFAULT NULL,
  update_time timestamp(0) with time zone DEFAULT NULL,
  PRIMARY KEY (id), CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id));
INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
VALUES ('saga', 'g1', '01', 'action', '01', 'action'),
       ('saga', 'g2', '01', 'action', '01', 'compensate'),
       ('saga', 'g2', '01', 'compensate', '01', 'compensate'),
       ('msg', 'g3', '00', 'msg', '01', 'rollback');
\set ECHO none
SELECT :'content' \gexec
SELECT :'content' \gexec
\set ECHO all
BEGIN;
SELECT dtm_barrier_verdict('saga', 'g1', '01', 'action') AS g1,
       dtm_barrier_verdict('saga', 'g2', '01', 'action') AS g2,
       dtm_barrier_query_prepared('msg', 'g3') AS g3,
       dtm_barrier_verdict('saga', 'g4', '01', 'action') AS g4;
COMMIT;
SELECT gid, branch_id, op, barrier_id, reason, create_time IS NOT NULL AS dated
  FROM dtm_barrier.barrier ORDER BY gid, op;

-- Of another shape, with the same meaning.
SET client_min_messages = warning;
DROP SCHEMA dtm_barrier CASCADE;
CREATE SCHEMA dtm_barrier;
CREATE TABLE dtm_barrier.barrier (
  id int GENERATED ALWAYS AS IDENTITY UNIQUE, barrier_id text NOT NULL, op text NOT NULL,
  branch_id text NOT NULL, gid varchar NOT NULL, trans_type text NOT NULL, reason varchar(50),
  create_time timestamp NOT NULL, update_time timestamptz, host text, more int NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX one ON dtm_barrier.barrier (op, gid, barrier_id, branch_id);
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
BEGIN;
SELECT dtm_barrier('saga', 'g1', '01', 'compensate'), dtm_barrier('saga', 'g1', '01', 'action');
COMMIT;
SELECT gid, branch_id, op, barrier_id, reason, create_time IS NOT NULL AS dated
  FROM dtm_barrier.barrier ORDER BY gid, op;
DROP SCHEMA dtm_barrier CASCADE;

-- What cannot be used. `start` is the right shape with one change.
CREATE SCHEMA dtm_barrier;
CREATE TABLE start (id serial PRIMARY KEY, trans_type text, gid text, branch_id text, op text,
  barrier_id text, reason text, create_time timestamptz, update_time timestamptz,
  UNIQUE (gid, branch_id, op, barrier_id));
CREATE PROCEDURE case_of(change text) LANGUAGE plpgsql AS $$
BEGIN
  DROP TABLE IF EXISTS dtm_barrier.barrier;
  CREATE TABLE dtm_barrier.barrier (LIKE start INCLUDING ALL);
  EXECUTE 'ALTER TABLE dtm_barrier.barrier ' || change;
END $$;
SELECT format('CALL case_of(%L)', change), :'content', 'ROLLBACK'
  FROM (VALUES (1, 'DROP COLUMN reason'),
               (2, 'ALTER gid TYPE int USING 0'),
               (3, 'ALTER id DROP DEFAULT'),
               (4, 'DROP CONSTRAINT barrier_pkey'),
               (5, 'DROP CONSTRAINT barrier_gid_branch_id_op_barrier_id_key'),
               (6, 'DROP CONSTRAINT barrier_gid_branch_id_op_barrier_id_key,
                    ADD UNIQUE (gid, branch_id, op)'),
               (7, 'DROP CONSTRAINT barrier_gid_branch_id_op_barrier_id_key,
                    ADD UNIQUE (gid, branch_id, op, barrier_id, reason)'),
               (8, 'DROP CONSTRAINT barrier_gid_branch_id_op_barrier_id_key,
                    ADD UNIQUE (gid, branch_id, op, barrier_id) DEFERRABLE'),
               (9, 'ADD host text NOT NULL'),
               (10, 'ALTER update_time SET NOT NULL'),
               (11, 'ALTER create_time TYPE date')) AS c (n, change)
 ORDER BY n
\set ECHO none
\gexec
\set ECHO all
-- No table at all.
DROP TABLE dtm_barrier.barrier;
CREATE VIEW dtm_barrier.barrier AS SELECT * FROM start;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
-- None of them left anything.
SELECT count(*) FROM pg_proc WHERE pronamespace = 'dtm_barrier'::regnamespace;
SELECT to_regclass('dtm_barrier.state_key');
DROP VIEW dtm_barrier.barrier;
-- The functions run as the role that installs them, and triggers of the table would: it must own
-- the table and the schema. Rights are not enough.
CALL case_of('ALTER reason SET DEFAULT NULL');
CREATE SCHEMA mine AUTHORIZATION regress_installer;
GRANT ALL ON SCHEMA dtm_barrier TO regress_installer;
GRANT ALL ON dtm_barrier.barrier TO regress_installer;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO regress_installer;
SET ROLE regress_installer;
SET search_path = mine;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
RESET ROLE;
ALTER SCHEMA dtm_barrier OWNER TO regress_installer;
SET ROLE regress_installer;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
RESET ROLE;
-- A superuser is no exception: whoever owns the schema could change what runs as the superuser.
ALTER SCHEMA dtm_barrier OWNER TO postgres;
ALTER TABLE dtm_barrier.barrier OWNER TO regress_installer;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
-- An empty schema, too.
ALTER TABLE dtm_barrier.barrier RENAME TO other;
ALTER SCHEMA dtm_barrier OWNER TO regress_installer;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
SELECT count(*) FROM pg_proc
 WHERE pronamespace IN ('mine'::regnamespace, 'dtm_barrier'::regnamespace);
-- As the owner of both.
ALTER TABLE dtm_barrier.other RENAME TO barrier;
SET ROLE regress_installer;
\set ECHO none
SELECT :'content' \gexec
\set ECHO all
SELECT dtm_barrier('saga', 'g1', '01', 'action');
-- It made the key that signs what the functions keep; nobody else's may be there.
RESET ROLE;
ALTER TABLE dtm_barrier.state_key OWNER TO postgres;
SET ROLE regress_installer;
\set ECHO none
SELECT :'content' \gexec
ROLLBACK;
\set ECHO all
RESET search_path;
RESET ROLE;
\c :here
DROP DATABASE regress_adopt;
