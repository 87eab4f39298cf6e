-- A role sees its own transactions; observers see all; the others see nothing.
CREATE ROLE regress_dtm_one;
CREATE ROLE regress_dtm_two;
CREATE ROLE regress_dtm_observer;
CREATE ROLE regress_dtm_stranger;
SELECT dtm_grant('regress_dtm_one', 'submit'), dtm_grant('regress_dtm_two', 'submit'),
       dtm_grant('regress_dtm_observer', 'observe');

BEGIN;
SET LOCAL ROLE regress_dtm_one;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://one/')], 'of one', '{"delay": 3600}');
SET LOCAL ROLE regress_dtm_two;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://two/')], 'of two', '{"delay": 3600}');

SELECT gid, owner FROM dtm.transaction;
SELECT gid, url FROM dtm.branch;
SELECT dtm_query('of two')->'transaction'->>'owner' AS own, dtm_query('of one')->'transaction' AS
  other;
SELECT * FROM refused($$SELECT dtm_explain('of one')$$);
SELECT * FROM refused($$SELECT dtm_wait('of one', '0 s')$$);
-- The gid of another role is taken, and that is all one learns.
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://one/')], 'of one',
  '{"delay": 3600}')$$);
-- Verbs and tables are not for submitters.
SELECT * FROM refused($$SELECT dtm_retry_now('of two')$$);
SELECT * FROM refused($$SELECT dtm_force_stop('of two')$$);
SELECT * FROM refused($$SELECT count(*) FROM dtm.trans$$);
SELECT * FROM refused($$DELETE FROM dtm.transaction$$);
SELECT * FROM refused($$SELECT dtm_grant('regress_dtm_two', 'admin')$$);
-- A condition that looks at the rows of others does not get to see them.
CREATE FUNCTION pg_temp.peep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS
  $$BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END$$;
SELECT gid FROM dtm.transaction WHERE pg_temp.peep(gid);

SET LOCAL ROLE regress_dtm_observer;
SELECT gid, owner FROM dtm.transaction WHERE gid LIKE 'of %' ORDER BY gid;
SELECT (dtm_query('of one')->'transaction'->>'owner');
SELECT * FROM refused($$SELECT dtm_submit('msg', ARRAY['{"action": ""}'::jsonb])$$);
SET LOCAL ROLE regress_dtm_stranger;
SELECT * FROM refused($$SELECT * FROM dtm.transaction$$);
SELECT * FROM refused($$SELECT dtm_query('of one')$$);
ROLLBACK;

-- A SECURITY DEFINER function submits for its owner.
CREATE FUNCTION submit_for_one() RETURNS text SECURITY DEFINER LANGUAGE sql
  RETURN dtm_submit('msg', ARRAY[dtm_step('http://one/')], 'by definer', '{"delay": 3600}');
BEGIN;
GRANT CREATE ON SCHEMA public TO regress_dtm_one;
ALTER FUNCTION submit_for_one OWNER TO regress_dtm_one;
SELECT submit_for_one();
SELECT owner FROM dtm.transaction WHERE gid = 'by definer';
ROLLBACK;
DROP FUNCTION submit_for_one;

SELECT dtm_revoke('regress_dtm_one'), dtm_revoke('regress_dtm_two'),
  dtm_revoke('regress_dtm_observer');
DROP ROLE regress_dtm_one, regress_dtm_two, regress_dtm_observer, regress_dtm_stranger;
