-- A search_path full of traps does not change what the extension does.
CREATE SCHEMA trap;
CREATE TABLE trap.trans (gid text PRIMARY KEY, trans_type text, status text, owner regrole, request
  text);
CREATE FUNCTION trap.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped';
  END$$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.eq);
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE
  'trapped'; END$$;
CREATE FUNCTION trap.plus(int8, int4) RETURNS int8 LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped';
  END$$;
CREATE OPERATOR trap.+ (LEFTARG = int8, RIGHTARG = int4, FUNCTION = trap.plus);
CREATE FUNCTION trap.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped';
  END$$;
\c -
SET search_path = trap, pg_catalog;
BEGIN;
SELECT public.dtm_subscribe('trap', 'http://a/');
SELECT public.dtm_submit('msg', ARRAY[public.dtm_step('topic://trap')], 'trap', '{"delay": 3600}');
SELECT public.dtm_submit('msg', ARRAY[public.dtm_step('topic://trap')], 'trap', '{"delay": 3600}');
SELECT public.dtm_query('trap') IS NOT NULL, count(*) FROM public.dtm_explain('trap');
SELECT count(*) FROM dtm.branch;
SELECT count(*) > 0 FROM public.dtm_check();
SELECT public.dtm_unsubscribe('trap', 'http://a/'), public.dtm_drop_topic('trap');
SELECT public.dtm_retry_now('trap'), public.dtm_force_stop('trap');
ROLLBACK;
RESET search_path;
DROP SCHEMA trap CASCADE;
