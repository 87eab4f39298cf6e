-- What the barrier functions refuse, with all that a user reads. Nothing of it leaves a row.
BEGIN;
CREATE TABLE wrong (n serial, statement text);
INSERT INTO wrong (statement) VALUES
-- The four that name a branch call
($$SELECT dtm_barrier(NULL, 'w', '01', 'action')$$),
($$SELECT dtm_barrier('', 'w', '01', 'action')$$),
($$SELECT dtm_barrier('sagas', 'w', '01', 'action')$$),
($$SELECT dtm_barrier('SAGA', 'w', '01', 'action')$$),
($$SELECT dtm_barrier('saga', NULL, '01', 'action')$$),
($$SELECT dtm_barrier('saga', '', '01', 'action')$$),
($$SELECT dtm_barrier('saga', repeat('g', 129), '01', 'action')$$),
($$SELECT dtm_barrier('saga', 'w', NULL, 'action')$$),
($$SELECT dtm_barrier('saga', 'w', '', 'action')$$),
($$SELECT dtm_barrier('saga', 'w', repeat('é', 129), 'action')$$),
($$SELECT dtm_barrier('saga', 'w', '01', NULL)$$),
($$SELECT dtm_barrier('saga', 'w', '01', '')$$),
($$SELECT dtm_barrier('saga', 'w', '01', 'act')$$),
($$SELECT dtm_barrier('saga', 'w', '01', 'cancel')$$),
($$SELECT dtm_barrier('saga', 'w', '01', 'msg')$$),
($$SELECT dtm_barrier('tcc', 'w', '01', 'action')$$),
($$SELECT dtm_barrier('xa', 'w', '01', 'try')$$),
($$SELECT dtm_barrier('workflow', 'w', '01', 'msg')$$),
($$SELECT dtm_barrier('msg', 'w', '00', 'try')$$),
($$SELECT dtm_barrier('saga', 'w', '01', 'action', repeat('1', 46))$$),
-- in the other functions
($$SELECT dtm_barrier_verdict('saga', 'w', '01', 'act')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'act', 'SELECT 1')$$),
($$SELECT dtm_barrier_call('saga', 'w', '', 'action', 'SELECT $1', 'a')$$),
($$SELECT dtm_barrier_query_prepared('msgs', 'w')$$),
($$SELECT dtm_barrier_query_prepared('saga', 'w')$$),
($$SELECT dtm_barrier_query_prepared(NULL, 'w')$$),
($$SELECT dtm_barrier_query_prepared('msg', '')$$),
($$SELECT dtm_branch('saga', 'w', '01', 'try')$$),
($$SELECT dtm_branch('saga', NULL, '01', 'action')$$),
-- The SQL
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', NULL)$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', '')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', ' ; -- nothing')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', '/* SELECT 1; /* SELECT 2 */ */')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT 1; SELECT 2')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT '';''; SELECT 2;; SELECT 3;')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'COMMIT')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', ' /* now */ rollback;')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'BEGIN')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'start transaction read only')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SAVEPOINT s')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'PREPARE TRANSACTION ''w''')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'COMMIT PREPARED ''w''')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT $1')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT $2', 1)$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT $1, $2, $3', 'a', 'b')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT $1', 1, 2)$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT 1', 'a')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT ''$1'' -- $1', 'a')$$),
($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT 1', VARIADIC NULL::text[])$$),
-- The query string
($$SELECT dtm_branch(NULL)$$),
($$SELECT dtm_branch('')$$),
($$SELECT dtm_branch('http://stock/reserve')$$),
($$SELECT dtm_branch('gid=mine&gid=w&branch_id=01&op=action&trans_type=saga')$$),
($$SELECT dtm_branch('branch_id=01&op=action&trans_type=saga')$$),
($$SELECT dtm_branch('gid=w&op=action&trans_type=saga')$$),
($$SELECT dtm_branch('gid=w&branch_id=01&trans_type=saga')$$),
($$SELECT dtm_branch('gid=w&branch_id=01&op=action')$$),
($$SELECT dtm_branch('gid=w&branch_id=01&op=act&trans_type=saga')$$),
($$SELECT dtm_branch('gid=w%ff&branch_id=01&op=action&trans_type=saga')$$),
($$SELECT dtm_branch('gid=w&branch_id=%c3%28&op=action&trans_type=saga')$$),
-- Tables
($$SELECT dtm_protect(NULL)$$),
($$SELECT dtm_unprotect(NULL)$$),
($$SELECT dtm_unprotect('wrong')$$),
($$SELECT dtm_protect('lost')$$),
($$SELECT dtm_protect('pg_class')$$),
($$SELECT dtm_protect('dtm_barrier.barrier')$$),
($$SELECT dtm_protect('pg_tables')$$),
-- The rest
($$SELECT dtm_barrier_purge('-1 day')$$);
SELECT format(E'%s\n%s', statement,
              (SELECT string_agg(r, E'\n') FROM refused(statement) AS r)) AS refused
  FROM wrong ORDER BY n \g (format=unaligned tuples_only=on)
SELECT r FROM refused($$SELECT dtm_barrier('saga', 'w', '01', 'action', '')$$) AS r LIMIT 2;
SELECT r <> 'accepted' AS refused
  FROM refused($$SELECT dtm_branch('gid=%00&branch_id=01&op=action&trans_type=saga')$$) AS r
 LIMIT 1;
SELECT count(*) FROM dtm_barrier.barrier WHERE gid LIKE 'w%';

CREATE VIEW a_view AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS one;
CREATE SEQUENCE a_sequence;
SELECT * FROM refused($$SELECT dtm_protect('a_view')$$);
SELECT * FROM refused($$SELECT dtm_protect('a_matview')$$);
SELECT * FROM refused($$SELECT dtm_protect('a_sequence')$$);
ROLLBACK;

-- Only the owner protects.
CREATE TABLE of_somebody (id int);
CREATE ROLE regress_other;
GRANT INSERT, UPDATE ON of_somebody TO regress_other;
DO $$
BEGIN  -- the extension, or the script
  IF to_regproc('dtm_barrier.begin_call') IS NULL THEN
    PERFORM dtm_grant('regress_other', 'barrier');
  ELSE
    GRANT USAGE ON SCHEMA dtm_barrier TO regress_other;
    GRANT EXECUTE ON FUNCTION dtm_protect, dtm_unprotect, dtm_barrier.guard_row,
      dtm_barrier.guard_truncate, dtm_barrier.inherits_protection TO regress_other;
  END IF;
END $$;
SET ROLE regress_other;
SELECT left(r, 5) FROM refused($$SELECT dtm_protect('of_somebody')$$) AS r LIMIT 1;
SELECT left(r, 5) FROM refused($$SELECT dtm_unprotect('of_somebody')$$) AS r LIMIT 1;
CREATE TEMPORARY TABLE own (id int);
SELECT dtm_protect('own', true);
SELECT left(r, 5) FROM refused('INSERT INTO own VALUES (1)') AS r LIMIT 1;
SELECT dtm_unprotect('own');
RESET ROLE;
SELECT dtm_protect('of_somebody');
SET ROLE regress_other;
SELECT left(r, 5) FROM refused($$SELECT dtm_protect('of_somebody', false)$$) AS r LIMIT 1;
SELECT left(r, 5) FROM refused($$SELECT dtm_unprotect('of_somebody')$$) AS r LIMIT 1;
-- Whoever writes needs no right beyond that on the table.
INSERT INTO of_somebody VALUES (1);
RESET ROLE;
DROP OWNED BY regress_other;
DROP ROLE regress_other;
DROP TABLE of_somebody;

-- Where nothing can be written.
BEGIN READ ONLY;
SELECT * FROM refused($$SELECT dtm_barrier('saga', 'w', '01', 'action')$$);
SELECT * FROM refused($$SELECT dtm_barrier_verdict('saga', 'w', '01', 'action')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'w', '01', 'action', 'SELECT 1')$$);
SELECT * FROM refused($$SELECT dtm_barrier_query_prepared('msg', 'w')$$);
ROLLBACK;
-- A table that does not keep what is written: no answer, and no end of asking.
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN NEW.gid = 'w-changed'; RETURN NEW; END$$;
BEGIN;
CREATE TRIGGER lose BEFORE INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION lose();
SELECT * FROM refused($$SELECT dtm_barrier('saga', 'w', '01', 'action')$$);
SELECT * FROM refused($$SELECT dtm_barrier_verdict('tcc', 'w', '01', 'cancel')$$);
SELECT * FROM refused($$SELECT dtm_barrier_call('saga', 'w', '02', 'action', 'SELECT 1')$$);
SELECT * FROM refused($$SELECT dtm_barrier_query_prepared('msg', 'w')$$);
ROLLBACK;
BEGIN;
CREATE TRIGGER change BEFORE INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION change();
SELECT dtm_barrier('saga', 'w-1', '01', 'action');
SELECT * FROM refused($$SELECT dtm_barrier('saga', 'w-2', '01', 'action')$$);
ROLLBACK;
DROP FUNCTION lose, change;
-- Without its table the barrier says so.
BEGIN;
ALTER TABLE dtm_barrier.barrier RENAME TO moved;
SELECT r FROM refused($$SELECT dtm_barrier('saga', 'w', '01', 'action')$$) AS r LIMIT 1;
SELECT r FROM refused($$SELECT dtm_barrier_query_prepared('msg', 'w')$$) AS r LIMIT 1;
ROLLBACK;
