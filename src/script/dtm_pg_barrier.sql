-- The barrier functions of dtm_pg for a database without the extension (managed PostgreSQL, a
-- participant's own server). Plain SQL and PL/pgSQL, PostgreSQL 13 or newer, no superuser.
--
-- For: a branch of a global transaction (saga, msg, tcc, xa, workflow of dtm or dtm_pg) may be
-- called twice, and may be undone before it was called. These functions note each call in the table
-- dtm_barrier.barrier, in the transaction that does the work, and say whether it is to be done.
-- Table, key and rows are those of dtm's clients and of the extension: all exclude each other.
--
-- Install, in the database, as a role with CREATE on the database and on the first schema of its
-- search_path, which gets the functions:
--     psql -X -v ON_ERROR_STOP=1 -f dtm_pg_barrier.sql
-- Any client that can send the file as one string does as well. It is one transaction. Running it
-- again updates the functions; rows and grants stay. An existing dtm_barrier.barrier is adopted
-- when it and its schema belong to that role: what their owner puts there runs with its rights.
--
-- Grant. PUBLIC may do nothing; the table stays closed. A role that runs branches:
--     GRANT USAGE ON SCHEMA dtm_barrier TO app;
--     GRANT EXECUTE ON FUNCTION dtm_barrier, dtm_barrier_verdict, dtm_barrier_query_prepared,
--       dtm_branch(text), dtm_branch(text, text, text, text),
--       dtm_barrier_call(text, text, text, text, text),
--       dtm_barrier_call(text, text, text, text, text, anycompatiblearray),
--       dtm_barrier.begin_call, dtm_barrier.end_call TO app;
-- A role that protects its tables (the triggers then work for everybody who writes them):
--     GRANT USAGE ON SCHEMA dtm_barrier TO owner;
--     GRANT EXECUTE ON FUNCTION dtm_protect, dtm_unprotect, dtm_barrier.guard_row,
--       dtm_barrier.guard_truncate, dtm_barrier.inherits_protection TO owner;
-- A role that removes old rows: GRANT EXECUTE ON FUNCTION dtm_barrier_purge TO sweeper;
--
-- Remove. CASCADE takes the triggers of protected tables, which are not protected from then on:
--     DROP FUNCTION dtm_barrier, dtm_barrier_verdict, dtm_barrier_query_prepared,
--       dtm_barrier_purge, dtm_protect, dtm_unprotect,
--       dtm_branch(text), dtm_branch(text, text, text, text),
--       dtm_barrier_call(text, text, text, text, text),
--       dtm_barrier_call(text, text, text, text, text, anycompatiblearray);
--     DROP FUNCTION dtm_barrier.guard_row, dtm_barrier.guard_truncate CASCADE;
--     DROP FUNCTION dtm_barrier.refuse, dtm_barrier.list, dtm_barrier.ops, dtm_barrier.check_field,
--       dtm_barrier.check_branch, dtm_barrier.check_writable, dtm_barrier.signature,
--       dtm_barrier.state, dtm_barrier.keep_state, dtm_barrier.decide, dtm_barrier.pass,
--       dtm_barrier.enforce, dtm_barrier.read_sql, dtm_barrier.begin_call,
--       dtm_barrier.end_call, dtm_barrier.never_found, dtm_barrier.query_field,
--       dtm_barrier.enter, dtm_barrier.guard, dtm_barrier.inherits_protection;
--     DROP TABLE dtm_barrier.state_key;
--     DROP SCHEMA dtm_barrier CASCADE;      -- only to give up the barrier rows, too
-- To change to the extension: all but the last line, CREATE EXTENSION dtm_pg, dtm_protect() again.
--
-- Settings (SET, ALTER ROLE, ALTER DATABASE): dtm.strict_barrier, dtm.barrier_required,
-- dtm.barrier_retention. Unlike in the extension any role may set them for its session;
-- dtm_protect(table, true) cannot be switched off in that way.
--
-- Other differences from the extension: the arguments of one dtm_barrier_call are of one type; a
-- barrier that stands alone in its transaction is not noticed; RESET ALL within a transaction makes
-- it forget its branch and its counters.

BEGIN;

-- Refuses or adopts before anything is changed.
DO $install$
DECLARE
  path text := pg_catalog.current_setting('search_path');
  barrier regclass := pg_catalog.to_regclass('dtm_barrier.barrier');
  stamps constant text[] := '{timestamp with time zone,timestamp without time zone}';
  known text;
  fault text;
  c record;
  wanted text;
  made text[] := '{}';
BEGIN
  IF pg_catalog.current_schema() IS NULL THEN
    RAISE EXCEPTION 'no schema of search_path exists' USING ERRCODE = 'undefined_schema';
  END IF;
  -- What CREATE FUNCTION finds keeps its grants (see the end).
  known := pg_catalog.current_schema();
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  PERFORM set_config('dtm_barrier.installed',
                     (SELECT string_agg(oid::text, ' ') FROM pg_proc
                       WHERE pronamespace IN (SELECT oid FROM pg_namespace
                                               WHERE nspname IN (known, 'dtm_barrier'))), true);
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'dtm_pg') THEN
    RAISE EXCEPTION 'extension dtm_pg is installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It has the functions of this script, which is for databases without it.';
  END IF;

  -- The functions run as the role that installs them, and triggers of the table run within them.
  FOR c IN
    SELECT 'SCHEMA dtm_barrier' AS what, pg_get_userbyid(nspowner) AS owner FROM pg_namespace
     WHERE nspname = 'dtm_barrier'
    UNION ALL
    SELECT 'TABLE ' || oid::regclass, pg_get_userbyid(relowner) FROM pg_class
     WHERE oid IN (barrier, to_regclass('dtm_barrier.state_key'))
     ORDER BY what
  LOOP
    IF c.owner <> current_user THEN
      RAISE EXCEPTION '% belongs to %', lower(c.what), c.owner
        USING ERRCODE = 'insufficient_privilege',
              DETAIL = format('What its owner changes would run with the rights of %s.',
                              current_user),
              HINT = format('Run the script as the owner, or give it to the owner of the '
                            'functions: ALTER %s OWNER TO %I', c.what, current_user);
    END IF;
  END LOOP;

  IF barrier IS NOT NULL THEN
    SELECT CASE WHEN relkind NOT IN ('r', 'p') THEN 'It is no table.' END INTO fault
      FROM pg_class WHERE oid = barrier;
    FOR c IN
      SELECT name, w.types, w.written, has.type, has.has_default, has.not_null
        FROM (VALUES ('id', NULL, false),
                     ('trans_type', '{character varying,text}'::text[], true),
                     ('gid', '{character varying,text}', true),
                     ('branch_id', '{character varying,text}', true),
                     ('op', '{character varying,text}', true),
                     ('barrier_id', '{character varying,text}', true),
                     ('reason', '{character varying,text}', true),
                     ('create_time', stamps, true),
                     ('update_time', stamps, false))
               AS w (name, types, written)
        FULL JOIN (SELECT attname::text AS name, atttypid::regtype::text AS type,
                          atthasdef OR attidentity <> '' AS has_default, attnotnull AS not_null
                     FROM pg_attribute
                    WHERE attrelid = barrier AND attnum > 0 AND NOT attisdropped) AS has
              USING (name)
       ORDER BY name
    LOOP
      fault := coalesce(fault, CASE
        WHEN c.type IS NULL THEN format('Column %I is missing.', c.name)
        WHEN c.type <> ALL (c.types) THEN format('Column %I is of type %s.', c.name, c.type)
        WHEN c.name = 'id' AND NOT c.has_default THEN 'Column id has no default.'
        WHEN c.written IS NOT TRUE AND c.not_null AND NOT c.has_default THEN
          format('Column %I is NOT NULL and has no default.', c.name) END);
    END LOOP;
    FOREACH wanted IN ARRAY ARRAY['id', 'barrier_id, branch_id, gid, op'] LOOP
      IF NOT EXISTS (
        SELECT FROM pg_index
         WHERE indrelid = barrier AND indisunique AND indimmediate AND indisvalid
           AND indpred IS NULL AND indexprs IS NULL
           AND wanted = (SELECT string_agg(attname, ', ' ORDER BY attname COLLATE "C")
                           FROM pg_attribute
                          WHERE attrelid = barrier AND attnum = ANY (indkey[0:indnkeyatts - 1])))
      THEN
        fault := coalesce(fault, format('It has no unique index on exactly (%s).',
          CASE wanted WHEN 'id' THEN 'id' ELSE 'gid, branch_id, op, barrier_id' END));
      END IF;
    END LOOP;
    IF fault IS NOT NULL THEN
      RAISE EXCEPTION 'the table dtm_barrier.barrier exists and cannot be used'
        USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = fault,
              HINT = 'Give it the columns and the key of dtm''s barrier table, or rename it.';
    END IF;
    IF to_regclass('dtm_barrier.state_key') IS NULL THEN
      RAISE NOTICE 'the existing table dtm_barrier.barrier is used';
    END IF;
    -- dtm's own script says DEFAULT NULL, which is one that is stored.
    IF NOT EXISTS (SELECT FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
                    WHERE attrelid = barrier AND attname = 'create_time'
                      AND pg_get_expr(adbin, adrelid) !~ '^NULL') THEN
      ALTER TABLE dtm_barrier.barrier ALTER COLUMN create_time SET DEFAULT now();
    END IF;
  ELSE
    IF to_regnamespace('dtm_barrier') IS NULL THEN
      CREATE SCHEMA dtm_barrier;
      made := made || 'SCHEMA dtm_barrier'::text;
    END IF;
    IF to_regclass('dtm_barrier.barrier_seq') IS NULL THEN
      CREATE SEQUENCE dtm_barrier.barrier_seq;
      made := made || 'SEQUENCE dtm_barrier.barrier_seq'::text;
    END IF;
    -- dtm's own table; create_time has a default here because old rows are found by it.
    CREATE TABLE dtm_barrier.barrier (
      id bigint NOT NULL DEFAULT nextval('dtm_barrier.barrier_seq') PRIMARY KEY,
      trans_type varchar(45) DEFAULT '',
      gid varchar(128) DEFAULT '',
      branch_id varchar(128) DEFAULT '',
      op varchar(45) DEFAULT '',
      barrier_id varchar(45) DEFAULT '',
      reason varchar(45) DEFAULT '',
      create_time timestamp(0) with time zone DEFAULT now(),
      update_time timestamp(0) with time zone DEFAULT now(),
      CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id));
    made := made || 'TABLE dtm_barrier.barrier'::text;
  END IF;
  -- Signs what the functions keep in a setting, because every role can SET that setting.
  IF to_regclass('dtm_barrier.state_key') IS NULL THEN
    CREATE TABLE dtm_barrier.state_key (key text NOT NULL);
    INSERT INTO dtm_barrier.state_key VALUES (gen_random_uuid()::text);
    made := made || 'TABLE dtm_barrier.state_key'::text;
  END IF;
  -- Default privileges may have opened what was made just now.
  FOR c IN
    SELECT DISTINCT o.what, coalesce(quote_ident(r.rolname), 'PUBLIC') AS grantee
      FROM (SELECT 'SCHEMA dtm_barrier', nspowner, nspacl FROM pg_namespace
             WHERE nspname = 'dtm_barrier'
            UNION ALL
            SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || oid::regclass,
                   relowner, relacl
              FROM pg_class WHERE relnamespace = 'dtm_barrier'::regnamespace)
           AS o (what, owner, acl)
     CROSS JOIN aclexplode(o.acl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
     WHERE o.what = ANY (made) AND a.grantee <> o.owner
  LOOP
    EXECUTE format('REVOKE ALL ON %s FROM %s CASCADE', c.what, c.grantee);
  END LOOP;
  PERFORM set_config('search_path', path, true);
END $install$;

-- The helpers. They are called by the functions below, mostly with the rights of the role that
-- installed them; PUBLIC may call none of them.

CREATE OR REPLACE FUNCTION dtm_barrier.refuse(state text, message text, detail text, hint text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF detail IS NULL AND hint IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message;
  ELSIF hint IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail;
  ELSIF detail IS NULL THEN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, HINT = hint;
  END IF;
  RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail, HINT = hint;
END $$;
COMMENT ON FUNCTION dtm_barrier.refuse IS 'Raises an error.';

CREATE OR REPLACE FUNCTION dtm_barrier.list(words text[])
RETURNS text LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT concat_ws(' and ', nullif(array_to_string(words[:cardinality(words) - 1], ', '), ''),
                   words[cardinality(words)])
$$;
COMMENT ON FUNCTION dtm_barrier.list IS 'a, b and c';

CREATE OR REPLACE FUNCTION dtm_barrier.ops(trans_type text)
RETURNS text[] LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE trans_type
    WHEN 'msg' THEN '{action,msg}'::text[]
    WHEN 'saga' THEN '{action,compensate}'
    WHEN 'tcc' THEN '{try,confirm,cancel}'
    WHEN 'xa' THEN '{action,commit,rollback}'
    WHEN 'workflow' THEN '{try,confirm,cancel,action,compensate,commit,rollback}' END
$$;
COMMENT ON FUNCTION dtm_barrier.ops IS 'The ops of a type; NULL: there is no such type.';

CREATE OR REPLACE FUNCTION dtm_barrier.check_field(field text, value text, size integer)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF value IS NULL OR value = '' THEN
    PERFORM dtm_barrier.refuse('TD001',
      format('the %s is %s', field, CASE WHEN value IS NULL THEN 'NULL' ELSE 'empty' END),
      'Field: ' || field,
      'A branch call carries gid, branch_id, op and trans_type in its query string '
      '(gRPC: in its metadata).');
  ELSIF length(value) > size THEN
    PERFORM dtm_barrier.refuse('TD001',
      format('the %s is %s characters long, the column takes %s', field, length(value), size),
      'Field: ' || field, NULL);
  END IF;
END $$;
COMMENT ON FUNCTION dtm_barrier.check_field IS 'Refuses NULL, empty and too long.';

CREATE OR REPLACE FUNCTION dtm_barrier.check_branch(
  its_type text, its_gid text, its_branch text, its_op text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ops text[] := dtm_barrier.ops(its_type);
  a_type text := CASE its_type WHEN 'xa' THEN 'an xa' ELSE 'a ' || its_type END;
BEGIN
  PERFORM dtm_barrier.check_field('trans_type', its_type, 45);
  IF ops IS NULL THEN
    PERFORM dtm_barrier.refuse('TD001', format('unknown trans_type "%s"', its_type),
      'Field: trans_type', 'Types are msg, saga, tcc, xa and workflow.');
  END IF;
  PERFORM dtm_barrier.check_field('gid', its_gid, 128);
  PERFORM dtm_barrier.check_field('branch_id', its_branch, 128);
  PERFORM dtm_barrier.check_field('op', its_op, 45);
  IF its_op <> ALL (ops) THEN
    PERFORM dtm_barrier.refuse('TD001',
      CASE WHEN its_op = 'msg' OR its_op = ANY (dtm_barrier.ops('workflow'))
        THEN format('%s has no op "%s"', a_type, its_op)
        ELSE format('unknown op "%s"', its_op) END,
      'Field: op',
      format('The ops of %s are %s.', a_type, dtm_barrier.list(ops)));
  ELSIF its_op = 'msg' AND its_branch <> '00' THEN
    PERFORM dtm_barrier.refuse('TD001', 'the branch of a local transaction is 00',
      'Field: branch_id',
      'dtm_barrier(''msg'', gid, ''00'', ''msg'') is what dtm_barrier_query_prepared() asks '
      'about.');
  END IF;
END $$;
COMMENT ON FUNCTION dtm_barrier.check_branch IS 'Refuses what names no branch.';

CREATE OR REPLACE FUNCTION dtm_barrier.check_writable(called text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_is_in_recovery() THEN
    PERFORM dtm_barrier.refuse('25006',
      format('cannot execute %s() in a read-only transaction', called),
      'This server is a standby.',
      'Connect to the primary, e.g. with target_session_attrs=read-write.');
  ELSIF current_setting('transaction_read_only')::boolean THEN
    PERFORM dtm_barrier.refuse('25006',
      format('cannot execute %s() in a read-only transaction', called),
      NULL, 'BEGIN READ WRITE, or see default_transaction_read_only.');
  ELSIF to_regclass('dtm_barrier.barrier') IS NULL THEN
    PERFORM dtm_barrier.refuse('55000',
      'the barrier table dtm_barrier.barrier does not exist', NULL,
      'Running dtm_pg_barrier.sql again makes it.');
  END IF;
END $$;
COMMENT ON FUNCTION dtm_barrier.check_writable IS 'Refuses where no barrier row can be written.';

-- What is remembered until the end of the transaction: the branch, what was decided, the counters.
-- A setting of the transaction forgets with it and with its savepoints. Any role can SET it, so the
-- value is signed together with the transaction that it is for. Its keys:
--   branch     [trans_type, gid, branch_id, op], for whom protected tables are written
--   named_by   which function said so
--   calls      [branch, named_by] as they were before each dtm_barrier_call() that is running
--   decisions  {[gid, branch_id, op]: verdict}
--   counts     {[gid, branch_id, op]: barriers so far}
CREATE OR REPLACE FUNCTION dtm_barrier.signature(xact xid8, state text)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (SELECT encode(sha256(convert_to(key || xact::text || ' ' || state,
                                          getdatabaseencoding())), 'hex')
            FROM dtm_barrier.state_key);
END $$;
COMMENT ON FUNCTION dtm_barrier.signature IS 'Signs what is kept in a setting: 64 hex digits.';

CREATE OR REPLACE FUNCTION dtm_barrier.state()
RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  kept text := current_setting('dtm_barrier.state', true);
  state text;
BEGIN
  IF kept <> '' THEN
    state := substr(kept, 65);
    IF left(kept, 64) = dtm_barrier.signature(pg_current_xact_id_if_assigned(), state) THEN
      RETURN state::jsonb;
    END IF;
  END IF;
  RETURN '{"counts": {}, "decisions": {}, "calls": []}';
END $$;
COMMENT ON FUNCTION dtm_barrier.state IS 'What this transaction has noted.';

CREATE OR REPLACE FUNCTION dtm_barrier.keep_state(state jsonb)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM set_config('dtm_barrier.state',
                     dtm_barrier.signature(pg_current_xact_id(), state::text) || state::text, true);
END $$;
COMMENT ON FUNCTION dtm_barrier.keep_state IS 'Notes it until the end of this transaction.';

-- Whatever is in the way of an INSERT can be seen, unless it was purged just now. Ten times in a
-- row that is no chance.
CREATE OR REPLACE FUNCTION dtm_barrier.never_found(branch_id text, op text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM dtm_barrier.refuse('55000', 'rows of dtm_barrier.barrier vanish or are changed',
    format('Neither an INSERT nor a SELECT finds the row of branch %s, op %s.', branch_id, op),
    'See the triggers, rules and policies of the table.');
END $$;
COMMENT ON FUNCTION dtm_barrier.never_found IS 'Refuses a table that does not keep its rows.';

-- Writes the rows of a call. `writer` is the op that had written its row before.
CREATE OR REPLACE FUNCTION dtm_barrier.decide(
  called text, its_type text, its_gid text, its_branch text, its_op text, its_id text,
  OUT verdict text, OUT writer text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  origin text := CASE its_op WHEN 'cancel' THEN 'try' WHEN 'compensate' THEN 'action'
                   WHEN 'rollback' THEN 'action' END;
  state jsonb;
  key text;
  count integer;
  origin_inserted boolean := false;
BEGIN
  PERFORM dtm_barrier.check_branch(its_type, its_gid, its_branch, its_op);
  IF its_id = '' THEN
    PERFORM dtm_barrier.refuse('TD001', 'the barrier_id is empty', 'Field: barrier_id',
      'NULL, or leaving it out, counts 01, 02, ... by itself.');
  ELSIF its_id IS NOT NULL THEN
    PERFORM dtm_barrier.check_field('barrier_id', its_id, 45);
  END IF;
  IF its_op = 'msg' THEN
    IF its_id <> '01' THEN
      PERFORM dtm_barrier.refuse('TD001', 'the barrier_id of a local transaction is 01',
        'Field: barrier_id',
        'dtm_barrier(''msg'', gid, ''00'', ''msg'') is what dtm_barrier_query_prepared() asks '
        'about.');
    END IF;
    its_id := '01';
  END IF;
  PERFORM dtm_barrier.check_writable(called);
  IF its_id IS NULL THEN
    state := dtm_barrier.state();
    key := jsonb_build_array(its_gid, its_branch, its_op)::text;
    count := coalesce((state #>> ARRAY['counts', key])::integer, 0) + 1;
    PERFORM dtm_barrier.keep_state(jsonb_set(state, ARRAY['counts', key], to_jsonb(count)));
    its_id := lpad(count::text, greatest(2, length(count::text)), '0');
  END IF;
  FOR attempt IN 1..10 LOOP
    IF origin IS NOT NULL THEN
      INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
      VALUES (its_type, its_gid, its_branch, origin, its_id, its_op)
      ON CONFLICT (gid, branch_id, op, barrier_id) DO NOTHING;
      origin_inserted := FOUND;
    END IF;
    INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
    VALUES (its_type, its_gid, its_branch, its_op, its_id, its_op)
    ON CONFLICT (gid, branch_id, op, barrier_id) DO NOTHING;
    IF FOUND OR origin_inserted THEN
      verdict := CASE WHEN origin_inserted THEN 'empty' ELSE 'run' END;
      RETURN;
    END IF;
    SELECT coalesce(reason, '') INTO writer FROM dtm_barrier.barrier
     WHERE gid = its_gid AND branch_id = its_branch AND op = its_op AND barrier_id = its_id;
    IF FOUND THEN
      verdict := CASE WHEN writer = its_op THEN 'duplicate' ELSE 'hanging' END;
      RETURN;
    END IF;
    -- The row that was in the way has been purged meanwhile: again.
  END LOOP;
  PERFORM dtm_barrier.never_found(its_branch, its_op);
END $$;
COMMENT ON FUNCTION dtm_barrier.decide IS 'The verdict about a call, by its rows.';

CREATE OR REPLACE FUNCTION dtm_barrier.pass(
  called text, its_type text, its_gid text, its_branch text, its_op text, its_id text,
  OUT verdict text, OUT writer text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state jsonb;
BEGIN
  SELECT d.verdict, d.writer INTO verdict, writer
    FROM dtm_barrier.decide(called, its_type, its_gid, its_branch, its_op, its_id) AS d;
  state := jsonb_set(
    dtm_barrier.state(),
    ARRAY['decisions', jsonb_build_array(its_gid, its_branch, its_op)::text],
    jsonb_build_array(verdict, writer));
  IF called <> 'dtm_barrier_call' AND coalesce(state ->> 'named_by', 'dtm_barrier') = 'dtm_barrier'
  THEN
    state := state || jsonb_build_object('named_by', 'dtm_barrier',
      'branch', jsonb_build_array(its_type, its_gid, its_branch, its_op));
  END IF;
  PERFORM dtm_barrier.keep_state(state);
END $$;
COMMENT ON FUNCTION dtm_barrier.pass IS
  'The same, noted for protected tables: they are written for this branch, unless another was '
  'named.';

CREATE OR REPLACE FUNCTION dtm_barrier.enforce(
  verdict text, writer text, its_gid text, its_branch text, its_op text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF its_op = 'msg' AND verdict = 'hanging' THEN
    PERFORM dtm_barrier.refuse('TDF00',
      format('message "%s" was given up before its local transaction committed', its_gid),
      NULL, 'Roll back: dtm was told that this transaction does not exist.');
  ELSIF its_op = 'msg' AND verdict = 'duplicate' THEN
    PERFORM dtm_barrier.refuse('TD002',
      format('the local transaction of message "%s" has passed the barrier already', its_gid),
      NULL, 'Roll back: it must not take effect twice.');
  ELSIF verdict = 'hanging'
        AND nullif(current_setting('dtm.strict_barrier', true), '')::boolean THEN
    PERFORM dtm_barrier.refuse('TDF00',
      format('branch %s of "%s" was undone before its %s arrived', its_branch, its_gid, its_op),
      format('The barrier row of op %s was written by %s.', its_op, writer),
      'Answer FAILURE (HTTP 409): this call must never take effect.');
  END IF;
END $$;
COMMENT ON FUNCTION dtm_barrier.enforce IS 'Raises the errors that belong to a verdict.';

-- Reads the SQL of a barrier as far as it must be known: strings, quoted names and comments are
-- told from the rest. `given` are the arguments to be put in as literals, which take the type of
-- their place; every byte is escaped, so no argument can end its literal. NULL: they are of another
-- type, and come as one array, $1.
CREATE OR REPLACE FUNCTION dtm_barrier.read_sql(sql text, arguments integer, given text[])
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  escaped constant text := $re$'(?:[^'\\]|\\.|'')*'$re$;
  continued constant text := $re$\s*?(?:--[^\r\n]*)?[\r\n](?:\s|--[^\r\n]*[\r\n])*$re$;
  -- What begins a name: letters, _ and all beyond ASCII; what is in it: digits and $, too.
  a_word constant text := '[^\u0001-\u0040\u005b-\u005e\u0060\u007b-\u007f]';
  in_word constant text := '[^\u0001-\u0023\u0025-\u002f\u003a-\u0040\u005b-\u005e\u0060'
                           '\u007b-\u007f]';
  give constant text := 'Give the statement that the barrier protects.';
  one constant text := '$1 is the first argument after the SQL.';
  plain_escapes boolean := NOT current_setting('standard_conforming_strings')::boolean;
  rest text := sql;
  statement text := '';
  outline text := '';      -- the SQL without contents of strings, names and comments
  token text;
  short text;
  at integer;
  level integer;
  words text[];
  uses numeric[];
  statements text[];
BEGIN
  IF sql IS NULL THEN
    PERFORM dtm_barrier.refuse('TD001', 'the SQL is NULL', 'Field: sql', give);
  END IF;
  WHILE rest <> '' LOOP
    IF rest ~ '^--' THEN
      token := substring(rest FROM '^--[^\r\n]*');
      outline := outline || ' ';
    ELSIF rest ~ '^/\*' THEN
      at := 1;
      level := 0;
      LOOP
        short := substring(substr(rest, at) FROM '/\*|\*/');
        EXIT WHEN short IS NULL;
        at := at + strpos(substr(rest, at), short) + 1;
        level := level + CASE short WHEN '/*' THEN 1 ELSE -1 END;
        EXIT WHEN level = 0;
      END LOOP;
      token := CASE WHEN short IS NULL THEN rest ELSE left(rest, at - 1) END;
      outline := outline || ' ';
    ELSIF rest ~ '^[eE]''' OR (plain_escapes AND rest ~ '^''') THEN
      token := coalesce(substring(rest FROM format('^([eE]?%s(?:%s%s)*)',
                                                   escaped, continued, escaped)), rest);
      outline := outline || '''''';
    ELSIF rest ~ '^''' THEN
      token := coalesce(substring(rest FROM $re$^'(?:[^']|'')*'$re$), rest);
      outline := outline || '''''';
    ELSIF rest ~ '^"' THEN
      token := coalesce(substring(rest FROM '^"(?:[^"]|"")*"'), rest);
      outline := outline || '""';
    ELSIF rest ~ '^\$[0-9]' THEN
      token := substring(rest FROM '^\$[0-9]+');
      outline := outline || ' ' || token || ' ';
      IF substr(token, 2)::numeric BETWEEN 1 AND arguments THEN
        statement := statement || CASE WHEN given IS NULL
          THEN format(' (($1)[%s]) ', substr(token, 2)::integer)
          ELSE coalesce(' E''' || regexp_replace(encode(convert_to(
            given[substr(token, 2)::integer], getdatabaseencoding()), 'hex'),
            '(..)', '\\x\1', 'g') || ''' ', ' NULL ') END;
        rest := substr(rest, length(token) + 1);
        CONTINUE;
      END IF;
    ELSIF rest ~ '^\$' THEN
      token := coalesce(substring(rest FROM format('^\$(?:%s(?:(?!\$)%s)*)?\$',
                                                   a_word, in_word)), '');
      at := CASE token WHEN '' THEN 0 ELSE strpos(substr(rest, length(token) + 1), token) END;
      token := CASE WHEN token = '' THEN '$' WHEN at = 0 THEN rest
                 ELSE left(rest, at - 1 + 2 * length(token)) END;
      outline := outline || '''''';
    ELSE
      token := coalesce(substring(rest FROM '^[^''"$/-]+'), left(rest, 1));
      -- A name may hold $, and an e before a quote belongs to the string.
      IF token ~ format('(?:^|(?!%s).)%s%s*$', in_word, a_word, in_word) THEN
        short := substring(substr(rest, length(token) + 1) FROM format('^\$%s*', in_word));
        IF short IS NOT NULL THEN
          outline := outline || token || '_';
          token := token || short;
          statement := statement || token;
          rest := substr(rest, length(token) + 1);
          CONTINUE;
        ELSIF substr(rest, length(token) + 1, 1) = ''''
              AND token ~ format('(?!%s).[eE]$', in_word) THEN
          token := left(token, -1);
        END IF;
      END IF;
      outline := outline || token;
    END IF;
    statement := statement || token;
    rest := substr(rest, length(token) + 1);
  END LOOP;

  -- CREATE RULE may have semicolons in parentheses.
  short := outline;
  LOOP
    token := regexp_replace(short, '\([^()]*\)', '[]', 'g');
    EXIT WHEN token = short;
    short := token;
  END LOOP;
  statements := ARRAY(SELECT s FROM regexp_split_to_table(short, ';') WITH ORDINALITY AS t (s, n)
                       WHERE s ~ '\S' ORDER BY n);
  IF cardinality(statements) = 0 THEN
    PERFORM dtm_barrier.refuse('TD001', 'the SQL is empty', 'Field: sql', give);
  ELSIF cardinality(statements) > 1 THEN
    PERFORM dtm_barrier.refuse('TD001',
      format('the SQL holds %s statements', cardinality(statements)), 'Field: sql',
      'Put them into a function, or call dtm_barrier() and run them when it returns true.');
  END IF;
  words := regexp_match(upper(statements[1]), '^\s*([A-Z]+)(?:\s+([A-Z]+))?');
  token := CASE
    WHEN words[1] IN ('BEGIN', 'SAVEPOINT', 'RELEASE') THEN words[1]
    WHEN words[1] = 'START' THEN 'START TRANSACTION'
    WHEN words[1] IN ('COMMIT', 'ROLLBACK') AND words[2] = 'PREPARED' THEN words[1] || ' PREPARED'
    WHEN words[1] IN ('COMMIT', 'END') THEN 'COMMIT'
    WHEN words[1] IN ('ROLLBACK', 'ABORT') THEN 'ROLLBACK'
    WHEN words[1] = 'PREPARE' AND words[2] = 'TRANSACTION' THEN 'PREPARE TRANSACTION' END;
  IF token IS NOT NULL THEN
    PERFORM dtm_barrier.refuse('TD001', format('a barrier cannot hold %s', token), 'Field: sql',
      'The barrier row and the rows of the SQL are one transaction, the caller''s.');
  END IF;

  uses := ARRAY(SELECT m[1]::numeric FROM regexp_matches(outline, '\$([0-9]+)', 'g') AS m);
  FOR token IN SELECT u FROM unnest(uses) AS u WHERE u > arguments ORDER BY u DESC LOOP
    PERFORM dtm_barrier.refuse('TD001', format('the SQL uses $%s, but %s it', token,
      CASE arguments WHEN 0 THEN 'no argument follows' WHEN 1 THEN '1 argument follows'
        ELSE arguments || ' arguments follow' END), 'Field: sql', one);
  END LOOP;
  FOR at IN SELECT n FROM generate_series(1, arguments) AS n WHERE n <> ALL (uses) ORDER BY n LOOP
    PERFORM dtm_barrier.refuse('TD001', format('the SQL does not use $%s', at),
                               'Field: args', one);
  END LOOP;
  RETURN statement;
END $$;
COMMENT ON FUNCTION dtm_barrier.read_sql IS
  'Refuses what a barrier cannot run; returns the statement to run.';

CREATE OR REPLACE FUNCTION dtm_barrier.begin_call(
  its_type text, its_gid text, its_branch text, its_op text, sql text,
  arguments integer, given text[])
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  statement text;
  passage record;
  state jsonb;
BEGIN
  PERFORM dtm_barrier.check_branch(its_type, its_gid, its_branch, its_op);
  statement := dtm_barrier.read_sql(sql, arguments, given);
  passage := dtm_barrier.pass('dtm_barrier_call', its_type, its_gid, its_branch, its_op, NULL);
  PERFORM dtm_barrier.enforce(passage.verdict, passage.writer, its_gid, its_branch, its_op);
  IF passage.verdict <> 'run' THEN
    RETURN NULL;
  END IF;
  state := dtm_barrier.state();
  PERFORM dtm_barrier.keep_state(state || jsonb_build_object('named_by', 'dtm_barrier_call',
    'branch', jsonb_build_array(its_type, its_gid, its_branch, its_op),
    'calls', (state -> 'calls') || jsonb_build_array(
               jsonb_build_array(state -> 'branch', state -> 'named_by'))));
  RETURN statement;
END $$;
COMMENT ON FUNCTION dtm_barrier.begin_call IS
  'The first half of dtm_barrier_call(): the statement to run, NULL when it must not run.';

CREATE OR REPLACE FUNCTION dtm_barrier.end_call()
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state jsonb := dtm_barrier.state();
  before jsonb := state #> '{calls,-1}';
BEGIN
  -- A dtm_branch() in the statement stays.
  IF state ->> 'named_by' = 'dtm_barrier_call' THEN
    state := state || jsonb_build_object('branch', before -> 0, 'named_by', before -> 1);
  END IF;
  PERFORM dtm_barrier.keep_state(state || jsonb_build_object('calls', (state -> 'calls') - -1));
END $$;
COMMENT ON FUNCTION dtm_barrier.end_call IS
  'The second half of dtm_barrier_call(), after the statement: the branch is that of before.';

CREATE OR REPLACE FUNCTION dtm_barrier.query_field(query text, field text)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  encoded text;
  found text[] := '{}';
BEGIN
  -- A '?' before the first '=' ends what is no query: a URL, or nothing.
  query := split_part(regexp_replace(query, '^[^=?]*\?', ''), '#', 1);
  FOR encoded IN
    SELECT substr(pair, length(field) + 2) FROM regexp_split_to_table(query, '&') AS t (pair)
     WHERE left(pair, length(field) + 1) = field || '='
  LOOP
    found := found || (
      SELECT convert_from(decode(coalesce(string_agg(
               CASE WHEN m[1] ~ '^%..$' THEN substr(m[1], 2)
                    ELSE encode(convert_to(m[1], 'UTF8'), 'hex') END, '' ORDER BY n), ''), 'hex'),
               'UTF8')
        FROM regexp_matches(replace(encoded, '+', ' '), '%[0-9A-Fa-f]{2}|[^%]+|%', 'g')
             WITH ORDINALITY AS t (m, n));
  END LOOP;
  IF found = '{}' THEN
    PERFORM dtm_barrier.refuse('TD001', format('the query string has no %s', field),
      'Field: query_string',
      'A branch call carries gid, branch_id, op and trans_type in its query string '
      '(gRPC: in its metadata).');
  ELSIF found[1] <> ANY (found) THEN
    PERFORM dtm_barrier.refuse('TD001', format('the query string has two values for %s', field),
      'Field: query_string',
      'Give the parameter in the URL of the step another name: the coordinator adds gid, '
      'branch_id, op and trans_type.');
  END IF;
  RETURN found[1];
END $$;
COMMENT ON FUNCTION dtm_barrier.query_field IS 'A parameter of a query string, percent-decoded.';

CREATE OR REPLACE FUNCTION dtm_barrier.enter(
  its_type text, its_gid text, its_branch text, its_op text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM dtm_barrier.check_branch(its_type, its_gid, its_branch, its_op);
  IF pg_is_in_recovery() THEN
    PERFORM dtm_barrier.check_writable('dtm_branch');
  END IF;
  PERFORM dtm_barrier.keep_state(dtm_barrier.state() || jsonb_build_object(
    'named_by', 'dtm_branch', 'branch', jsonb_build_array(its_type, its_gid, its_branch, its_op)));
END $$;
COMMENT ON FUNCTION dtm_barrier.enter IS 'Notes the branch of this transaction.';

-- The verdict for a write to a protected table; 'run' where there is no branch.
CREATE OR REPLACE FUNCTION dtm_barrier.guard(required text, table_name text, operation text)
RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state jsonb := dtm_barrier.state();
  branch text[];
  key text;
  passage record;
  decided jsonb;
BEGIN
  IF state ->> 'branch' IS NULL THEN
    IF coalesce(nullif(required, ''), nullif(current_setting('dtm.barrier_required', true), ''),
                'off')::boolean THEN
      PERFORM dtm_barrier.refuse('TD006',
        format('table "%s" is protected, and this transaction has no branch', table_name),
        operation || ' without dtm_branch(...).',
        'Call dtm_branch() with what the branch call carries, in the same transaction, '
        'before the first write.');
    END IF;
    RETURN 'run';
  END IF;
  key := ((state -> 'branch') - 0)::text;
  branch := ARRAY(SELECT jsonb_array_elements_text(state -> 'branch'));
  IF NOT (state -> 'decisions') ? key THEN
    passage := dtm_barrier.decide('dtm_barrier', branch[1], branch[2], branch[3], branch[4], NULL);
    PERFORM dtm_barrier.enforce(passage.verdict, passage.writer, branch[2], branch[3], branch[4]);
    state := jsonb_set(dtm_barrier.state(), ARRAY['decisions', key],
                       jsonb_build_array(passage.verdict, passage.writer));
    PERFORM dtm_barrier.keep_state(state);
  END IF;
  decided := state #> ARRAY['decisions', key];
  -- dtm_barrier_verdict() has only told.
  PERFORM dtm_barrier.enforce(decided ->> 0, decided ->> 1, branch[2], branch[3], branch[4]);
  RETURN decided ->> 0;
END $$;
COMMENT ON FUNCTION dtm_barrier.guard IS 'The verdict for a write to a protected table.';

CREATE OR REPLACE FUNCTION dtm_barrier.guard_row()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  verdict text := dtm_barrier.guard(TG_ARGV[0], TG_TABLE_NAME, TG_OP);
  context text;
BEGIN
  IF verdict = 'run' THEN
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    END IF;
    RETURN NEW;
  END IF;
  IF pg_trigger_depth() > 1
     AND EXISTS (SELECT FROM pg_constraint WHERE conrelid = TG_RELID AND contype = 'f') THEN
    -- The query of a foreign key: written with $1 by PostgreSQL, and by no function in PL/pgSQL.
    GET DIAGNOSTICS context = PG_CONTEXT;
    IF split_part(context, E'\n', 2)
         ~ '(DELETE FROM|UPDATE) (ONLY )?".*"\.".*" (WHERE|SET) .*\$1.* OPERATOR\(pg_catalog\.=\) '
    THEN
      PERFORM dtm_barrier.refuse('0A000', format('rows of "%s" would be orphaned', TG_TABLE_NAME),
        format('The barrier''s verdict is %s, and a foreign key cascades into a protected table.',
               verdict),
        'Protect the referenced table with dtm_protect(), too.');
    END IF;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION dtm_barrier.guard_row() IS 'Trigger of dtm_protect().';

CREATE OR REPLACE FUNCTION dtm_barrier.guard_truncate()
RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  verdict text := dtm_barrier.guard(TG_ARGV[0], TG_TABLE_NAME, TG_OP);
BEGIN
  IF verdict <> 'run' THEN
    PERFORM dtm_barrier.refuse('0A000', format('TRUNCATE of "%s" cannot be skipped', TG_TABLE_NAME),
      format('The barrier''s verdict is %s.', verdict),
      'Use DELETE, or run TRUNCATE in dtm_barrier_call().');
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION dtm_barrier.guard_truncate() IS 'Trigger of dtm_protect().';

-- The functions for everybody, in the first schema of search_path.

CREATE OR REPLACE FUNCTION dtm_barrier_verdict(
  trans_type text, gid text, branch_id text, op text, barrier_id text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN (dtm_barrier.pass('dtm_barrier_verdict', trans_type, gid, branch_id, op,
                           barrier_id)).verdict;
END $$;
COMMENT ON FUNCTION dtm_barrier_verdict IS
  'Notes a branch call in this transaction and says what it is: run (do it), duplicate (it was '
  'done), empty (it undoes what never came) or hanging (it was undone before it came).';

CREATE OR REPLACE FUNCTION dtm_barrier(
  trans_type text, gid text, branch_id text, op text, barrier_id text DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  passage record := dtm_barrier.pass('dtm_barrier', trans_type, gid, branch_id, op, barrier_id);
BEGIN
  PERFORM dtm_barrier.enforce(passage.verdict, passage.writer, gid, branch_id, op);
  RETURN passage.verdict = 'run';
END $$;
COMMENT ON FUNCTION dtm_barrier IS
  'Notes a branch call in this transaction; true: do its work in this transaction, false: there is '
  'nothing to do, answer success.';

CREATE OR REPLACE FUNCTION dtm_barrier_call(
  trans_type text, gid text, branch_id text, op text, sql text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  statement text := dtm_barrier.begin_call(trans_type, gid, branch_id, op, sql, 0, NULL);
BEGIN
  IF statement IS NULL THEN
    RETURN false;
  END IF;
  EXECUTE statement;
  PERFORM dtm_barrier.end_call();
  RETURN true;
END $$;
COMMENT ON FUNCTION dtm_barrier_call(text, text, text, text, text) IS
  'Runs one SQL statement as a branch call, at most once, with the rights of the caller, in this '
  'transaction; true when it ran.';

-- Runs with the rights and the search_path of the caller: every name here is qualified.
CREATE OR REPLACE FUNCTION dtm_barrier_call(
  trans_type text, gid text, branch_id text, op text, sql text, VARIADIC args anycompatiblearray)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  statement text;
BEGIN
  IF args IS NULL THEN
    RAISE EXCEPTION 'the array of arguments is NULL'
      USING ERRCODE = 'TD001', DETAIL = 'Field: args',
            HINT = 'Leave it out when the SQL has no parameters.';
  END IF;
  args := ARRAY(SELECT pg_catalog.unnest(args));  -- one dimension, counted from 1
  statement := dtm_barrier.begin_call(
    trans_type, gid, branch_id, op, sql, pg_catalog.cardinality(args),
    CASE WHEN pg_catalog.pg_typeof(args) OPERATOR(pg_catalog.=)
                'pg_catalog.text[]'::pg_catalog.regtype
      THEN args::pg_catalog.text[] END);
  IF statement IS NULL THEN
    RETURN false;
  END IF;
  EXECUTE statement USING args;
  PERFORM dtm_barrier.end_call();
  RETURN true;
END $$;
COMMENT ON FUNCTION dtm_barrier_call(text, text, text, text, text, anycompatiblearray) IS
  'The same with arguments, $1, $2 ... in the SQL. Arguments that are text take the type that '
  'their place in the SQL asks for.';

CREATE OR REPLACE FUNCTION dtm_barrier_query_prepared(trans_type text, gid text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  writer text;
BEGIN
  -- $1 and $2: the columns have the names of the parameters.
  PERFORM dtm_barrier.check_branch($1, $2, '00', 'msg');
  PERFORM dtm_barrier.check_writable('dtm_barrier_query_prepared');
  FOR attempt IN 1..10 LOOP
    INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
    VALUES ($1, $2, '00', 'msg', '01', 'rollback')
    ON CONFLICT (gid, branch_id, op, barrier_id) DO NOTHING;
    IF FOUND THEN
      RETURN false;
    END IF;
    SELECT b.reason INTO writer FROM dtm_barrier.barrier AS b
     WHERE b.gid = $2 AND b.branch_id = '00' AND b.op = 'msg' AND b.barrier_id = '01';
    IF FOUND THEN
      RETURN writer = 'msg';
    END IF;
    -- It was there and is gone: housekeeping removed it in between. Only a row is an answer.
  END LOOP;
  PERFORM dtm_barrier.never_found('00', 'msg');
END $$;
COMMENT ON FUNCTION dtm_barrier_query_prepared IS
  'Answers the question for the local transaction of a message: true, it has committed; false, it '
  'has not and never will.';

CREATE OR REPLACE FUNCTION dtm_branch(trans_type text, gid text, branch_id text, op text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM dtm_barrier.enter(trans_type, gid, branch_id, op);
END $$;
COMMENT ON FUNCTION dtm_branch(text, text, text, text) IS
  'Names the branch call that this transaction is; what it writes to protected tables takes effect '
  'at most once.';

CREATE OR REPLACE FUNCTION dtm_branch(query_string text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gid text;
  branch text;
  op text;
BEGIN
  IF query_string IS NULL OR query_string = '' THEN
    PERFORM dtm_barrier.refuse('TD001',
      'the query string is ' || CASE WHEN query_string IS NULL THEN 'NULL' ELSE 'empty' END,
      'Field: query_string', 'Pass what follows the ? in the URL of the branch call.');
  END IF;
  gid := dtm_barrier.query_field(query_string, 'gid');
  branch := dtm_barrier.query_field(query_string, 'branch_id');
  op := dtm_barrier.query_field(query_string, 'op');
  PERFORM dtm_barrier.enter(dtm_barrier.query_field(query_string, 'trans_type'), gid, branch, op);
END $$;
COMMENT ON FUNCTION dtm_branch(text) IS
  'The same with the query string, or the URL, of the branch call.';

CREATE OR REPLACE FUNCTION dtm_barrier.inherits_protection(partition regclass)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parent name := (
    WITH RECURSIVE up AS (
      SELECT tgrelid, tgparentid FROM pg_trigger
       WHERE tgrelid = partition AND tgname = '00_dtm_barrier'
      UNION ALL
      SELECT t.tgrelid, t.tgparentid FROM up JOIN pg_trigger AS t ON t.oid = up.tgparentid)
    SELECT relname FROM up JOIN pg_class ON pg_class.oid = tgrelid
     WHERE tgparentid = 0 AND tgrelid <> partition);
BEGIN
  IF parent IS NOT NULL THEN
    RAISE EXCEPTION '"%" is protected as a partition',
        (SELECT relname FROM pg_class WHERE oid = partition)
      USING ERRCODE = '42809', DETAIL = format('Its triggers belong to "%s".', parent),
            HINT = format('Call it for "%s".', parent);
  END IF;
END $$;
COMMENT ON FUNCTION dtm_barrier.inherits_protection IS
  'Refuses a partition whose triggers are those of its parent.';

-- These two run with the rights of the caller, who must own the table.
CREATE OR REPLACE FUNCTION dtm_protect(table_name regclass, barrier_required boolean DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  relation record;
  kind text;
  child record;
  trigger name;
BEGIN
  IF table_name IS NULL THEN
    RAISE EXCEPTION 'the table is NULL' USING ERRCODE = 'TD001', DETAIL = 'Field: table_name';
  END IF;
  SELECT relname, relkind, relowner, nspname INTO STRICT relation
    FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE pg_class.oid = table_name;
  kind := CASE
    WHEN relation.nspname IN ('dtm', 'dtm_barrier') THEN 'It is a table of dtm_pg itself.'
    WHEN table_name::oid < 12000 THEN 'It is a system table.'
    WHEN relation.relkind = 'v' THEN 'It is a view.'
    WHEN relation.relkind = 'm' THEN 'It is a materialized view.'
    WHEN relation.relkind = 'f' THEN
      'It is a foreign table: its rows do not commit with the barrier''s.'
    WHEN relation.relkind NOT IN ('r', 'p') THEN 'It is not a table.'
    WHEN relation.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = table_name)
      THEN 'It has child tables, whose rows would be written unguarded.' END;
  IF kind IS NOT NULL THEN
    RAISE EXCEPTION '"%" cannot be protected', relation.relname
      USING ERRCODE = '42809', DETAIL = kind,
            HINT = 'Protect the ordinary tables that the branch writes.';
  ELSIF NOT pg_has_role(relation.relowner, 'USAGE') THEN
    RAISE EXCEPTION 'must be owner of table %', relation.relname USING ERRCODE = '42501';
  END IF;
  PERFORM dtm_barrier.inherits_protection(table_name);
  FOR child IN
    SELECT c.oid::regclass::text AS name, c.relname
      FROM pg_partition_tree(table_name) AS t JOIN pg_class AS c ON c.oid = t.relid
     WHERE t.level > 0
       AND EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = c.oid AND g.tgparentid = 0
                      AND g.tgname IN ('00_dtm_barrier', '00_dtm_barrier_truncate'))
     ORDER BY c.oid LIMIT 1
  LOOP
    RAISE EXCEPTION '"%" cannot be protected', relation.relname
      USING ERRCODE = '42809',
            DETAIL = format('Its partition "%s" is protected by itself.', child.relname),
            HINT = format('Call dtm_unprotect(%L) first.', child.name);
  END LOOP;
  FOR trigger IN SELECT tgname FROM pg_trigger WHERE tgrelid = table_name
      AND tgname IN ('00_dtm_barrier', '00_dtm_barrier_truncate') LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', trigger, table_name);
  END LOOP;
  EXECUTE format('CREATE TRIGGER "00_dtm_barrier" BEFORE INSERT OR UPDATE OR DELETE ON %s '
                 'FOR EACH ROW EXECUTE FUNCTION dtm_barrier.guard_row(%L)',
                 table_name, coalesce(barrier_required::text, ''));
  EXECUTE format('CREATE TRIGGER "00_dtm_barrier_truncate" BEFORE TRUNCATE ON %s '
                 'FOR EACH STATEMENT EXECUTE FUNCTION dtm_barrier.guard_truncate(%L)',
                 table_name, coalesce(barrier_required::text, ''));
END $$;
COMMENT ON FUNCTION dtm_protect IS
  'Lets writes to a table take effect at most once per branch call (dtm_branch). barrier_required: '
  'refuse writes without a branch; NULL: as dtm.barrier_required says.';

CREATE OR REPLACE FUNCTION dtm_unprotect(table_name regclass)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  trigger name;
BEGIN
  IF table_name IS NULL THEN
    RAISE EXCEPTION 'the table is NULL' USING ERRCODE = 'TD001', DETAIL = 'Field: table_name';
  END IF;
  PERFORM dtm_barrier.inherits_protection(table_name);
  FOR trigger IN SELECT tgname FROM pg_trigger WHERE tgrelid = table_name
      AND tgname IN ('00_dtm_barrier', '00_dtm_barrier_truncate') LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', trigger, table_name);
  END LOOP;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'table "%" is not protected',
        (SELECT relname FROM pg_class WHERE oid = table_name)
      USING ERRCODE = 'TD004', DETAIL = 'It has no trigger of dtm_protect().';
  END IF;
END $$;
COMMENT ON FUNCTION dtm_unprotect IS 'Takes dtm_protect() back.';

CREATE OR REPLACE FUNCTION dtm_barrier_purge(older_than interval DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  -- Seconds, or with a unit: the library, where it is loaded, shows '30d'.
  retention text := coalesce(nullif(current_setting('dtm.barrier_retention', true), ''), '2592000');
  removed bigint;
BEGIN
  IF older_than < interval '0' THEN
    PERFORM dtm_barrier.refuse('TD001', 'the age is negative', 'Field: older_than',
      'Barrier rows older than it are removed, e.g. ''30 days''.');
  END IF;
  PERFORM dtm_barrier.check_writable('dtm_barrier_purge');
  IF older_than IS NULL THEN
    older_than := CASE WHEN retention ~ '^[0-9]+$' THEN make_interval(secs => retention::integer)
                    ELSE retention::interval END;
    IF older_than <= interval '0' THEN
      RETURN 0;
    END IF;
  END IF;
  DELETE FROM dtm_barrier.barrier WHERE create_time < now() - older_than;
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;
COMMENT ON FUNCTION dtm_barrier_purge IS
  'Removes barrier rows that are older than that, or than dtm.barrier_retention (30 days; 0: '
  'never). It must exceed the longest life of a global transaction. Returns their number.';

-- PUBLIC, and whoever default privileges name, loses what CREATE FUNCTION gave just now; a function
-- that was there keeps its grants.
DO $install$
DECLARE
  f regprocedure;
  grantee text;
BEGIN
  FOR f, grantee IN
    SELECT DISTINCT p.oid, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC')
      FROM pg_catalog.pg_proc AS p
     CROSS JOIN pg_catalog.aclexplode(
             coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
      LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.grantee
     WHERE p.pronamespace OPERATOR(pg_catalog.=) ANY (
             ARRAY[pg_catalog.quote_ident(pg_catalog.current_schema()),
                   'dtm_barrier']::regnamespace[]::oid[])
       AND p.oid::text OPERATOR(pg_catalog.<>) ALL (pg_catalog.string_to_array(
             pg_catalog.current_setting('dtm_barrier.installed'), ' '))
       AND a.grantee OPERATOR(pg_catalog.<>) p.proowner
  LOOP
    EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM %s CASCADE', f, grantee);
  END LOOP;
END $install$;

COMMIT;
