-- dtm_import: every unfinished state that dtm leaves in its tables goes on here as it is. All of it
-- in one transaction, so that nobody is called.
BEGIN;
CREATE SCHEMA old;
CREATE SEQUENCE old.trans_global_seq;
CREATE TABLE old.trans_global (
  id bigint NOT NULL DEFAULT nextval('old.trans_global_seq'),
  gid varchar(128) NOT NULL, trans_type varchar(45) NOT NULL, status varchar(45) NOT NULL,
  query_prepared varchar(1024) NOT NULL, protocol varchar(45) NOT NULL,
  create_time timestamp(0) with time zone, update_time timestamp(0) with time zone,
  finish_time timestamp(0) with time zone, rollback_time timestamp(0) with time zone,
  options varchar(1024) DEFAULT '', custom_data varchar(1024) DEFAULT '',
  next_cron_interval int, next_cron_time timestamp(0) with time zone,
  owner varchar(128) NOT NULL DEFAULT '', ext_data text, result varchar(1024) DEFAULT '',
  rollback_reason varchar(1024) DEFAULT '',
  PRIMARY KEY (id), CONSTRAINT gid UNIQUE (gid));
CREATE INDEX owner ON old.trans_global (owner);
CREATE INDEX status_next_cron_time ON old.trans_global (status, next_cron_time);
CREATE SEQUENCE old.trans_branch_op_seq;
CREATE TABLE old.trans_branch_op (
  id bigint NOT NULL DEFAULT nextval('old.trans_branch_op_seq'),
  gid varchar(128) NOT NULL, url varchar(1024) NOT NULL, data text, bin_data bytea,
  branch_id varchar(128) NOT NULL, op varchar(45) NOT NULL, status varchar(45) NOT NULL,
  finish_time timestamp(0) with time zone, rollback_time timestamp(0) with time zone,
  create_time timestamp(0) with time zone, update_time timestamp(0) with time zone,
  PRIMARY KEY (id), CONSTRAINT gid_branch_uniq UNIQUE (gid, branch_id, op));
CREATE SEQUENCE old.kv_seq;
CREATE TABLE old.kv (
  id bigint NOT NULL DEFAULT nextval('old.kv_seq'),
  cat varchar(45) NOT NULL, k varchar(128) NOT NULL, v text, version bigint DEFAULT 1,
  create_time timestamp(0) with time zone, update_time timestamp(0) with time zone,
  PRIMARY KEY (id), CONSTRAINT uniq_k UNIQUE (cat, k));

-- A transaction as dtm would have left it. `marks`: for each branch the states (p, s, f) of its
-- rows in their order; the row that undoes comes first.
CREATE FUNCTION old.put(gid text, type text, status text, marks text, options text DEFAULT
  '{"concurrent":false}', custom text DEFAULT '', query text DEFAULT '', next timestamptz DEFAULT
  '2020-01-02 03:04:15+00', reason text DEFAULT '', ids text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  ops text[] := CASE type WHEN 'saga' THEN '{compensate,action}' WHEN 'tcc' THEN '{cancel,confirm}'
                          WHEN 'xa' THEN '{rollback,commit}' ELSE '{action}' END;
  branch text; states text; state text; n int := 0;
BEGIN
  INSERT INTO old.trans_global (gid, trans_type, status, query_prepared, protocol, create_time,
    update_time, options, custom_data, next_cron_interval, next_cron_time, ext_data,
    rollback_reason)
  VALUES (gid, type, status, query, 'http', '2020-01-02 03:04:05+00', '2020-01-02 03:04:06+00',
    options, custom, 10, next, '', reason);
  FOREACH states IN ARRAY string_to_array(marks, ' ') LOOP
    n := n + 1;
    branch := coalesce(ids[n], to_char(n, 'FM00'));
    FOR i IN 1 .. cardinality(ops) LOOP
      state := CASE substr(states, i, 1) WHEN 'p' THEN 'prepared' WHEN 's' THEN 'succeed'
                                         WHEN 'f' THEN 'failed' END;
      INSERT INTO old.trans_branch_op (gid, url, bin_data, branch_id, op, status, finish_time,
        create_time, update_time)
      VALUES (gid, 'http://127.0.0.1:1/' || CASE type WHEN 'xa' THEN 'xa' ELSE ops[i] END,
        convert_to(format('{"step": "%s ä"}', left(branch, 2)), 'UTF8'), branch, ops[i], state,
        CASE WHEN state <> 'prepared' THEN timestamptz '2020-01-02 03:04:07+00' END,
        '2020-01-02 03:04:05+00', '2020-01-02 03:04:05+00');
    END LOOP;
  END LOOP;
END $$;
CREATE VIEW old.taken AS
  SELECT gid, trans_type AS type, status, owner = current_user::regrole AS mine,
         create_time AT TIME ZONE 'UTC' AS created,
         CASE WHEN next_cron_time < now() + interval '1 hour' THEN 'now'
              ELSE (next_cron_time AT TIME ZONE 'UTC')::text END AS next, rollback_reason AS reason
    FROM dtm.transaction ORDER BY gid COLLATE "C";
-- !: may have run; ~: waits for its time
CREATE VIEW old.branches AS
  SELECT gid, string_agg(concat_ws(' ', branch_id, op, status) || CASE WHEN may_have_run THEN '!'
         ELSE '' END || CASE WHEN next_time > now() THEN '~' ELSE '' END, ', '
         ORDER BY branch_id, op DESC) AS branches
    FROM dtm.branch GROUP BY gid ORDER BY gid COLLATE "C";

SELECT count(old.put(gid, type, status, marks, options, custom, query, next::timestamptz, reason,
                     ids::text[]))
  FROM (VALUES
  ('s01', 'saga', 'prepared', 'pp pp', '', '', '', NULL, '', NULL),
  ('s02', 'saga', 'submitted', 'pp pp', '{"concurrent":false}', '', '', NULL, '', NULL),
  ('s03', 'saga', 'submitted', 'ps pp pp', '{"retry_interval":60,"request_timeout":7}', '', '',
    '2100-01-01 00:00:00+00', '', NULL),
  ('s04', 'saga', 'submitted', 'ps pf pp', '', '', '', NULL, '', NULL),
  ('s05', 'saga', 'submitted', 'ps pp pp pp', '', '{"concurrent":true,"orders":{"3":[1]}}', '',
    NULL, '', NULL),
  ('s06', 'saga', 'aborting', 'ps pf pp', '', '', '', '2100-01-01 00:00:00+00',
    'url:http://a return failed: out of stock', NULL),
  ('s07', 'saga', 'aborting', 'pp ps sf', '', '', '', NULL, 'fail message lost', NULL),
  ('s08', 'saga', 'aborting', 'ps pp pp', '{"timeout_to_fail":60}', '', '', NULL,
    'Timeout after 60 seconds', NULL),
  ('s09', 'saga', 'submitted', 'pp', '{"timeout_to_fail":1000000}', '', '',
    '2100-01-01 00:00:00+00', '', NULL),
  ('m01', 'msg', 'prepared', 'p p', '', '', 'http://127.0.0.1:1/query', NULL, '', NULL),
  ('m02', 'msg', 'prepared', 'p', '', '', 'http://127.0.0.1:1/query', '2100-01-01 00:00:00+00', '',
    NULL),
  ('m03', 'msg', 'submitted', 's p p', '', '', '', NULL, '', NULL),
  ('m04', 'msg', 'submitted', 's p p s', '{"concurrent":true}', '', '', NULL, '',
    '{01,02-01,02-02,03}'),
  ('m05', 'msg', 'submitted', 'p', '', '{"Delay":5}', '', NULL, '', NULL),
  ('t01', 'tcc', 'prepared', 'pp pp', '{"timeout_to_fail":60}', 'mine', '', NULL, '', '{01,0101}'),
  ('t02', 'tcc', 'submitted', 'pp pp ps', '', '', '', NULL, '', NULL),
  ('t03', 'tcc', 'aborting', 'pp sp', '', '', '', '2100-01-01 00:00:00+00', 'no seat', NULL),
  ('t04', 'tcc', 'submitted', '', '', '', '', NULL, '', NULL),
  ('x01', 'xa', 'prepared', 'pp', '', '', '', NULL, '', NULL),
  ('x02', 'xa', 'submitted', 'ps pp pp', '', '', '', NULL, '', NULL),
  ('x03', 'xa', 'aborting', 'sp pp', '', '', '', NULL, 'Timeout after 0 seconds', NULL),
  ('w01', 'workflow', 'prepared', 's f', '', '{"name":"order","data":"aW5wdXQ="}',
    'http://127.0.0.1:1/flow', NULL, '', NULL),
  ('w02', 'workflow', 'prepared', '', '', '{"name":"order","data":null}', 'http://127.0.0.1:1/flow',
    '2100-01-01 00:00:00+00', '', NULL),
  ('z01', 'saga', 'succeed', 'ps', '', '', '', NULL, '', NULL),
  ('z02', 'msg', 'failed', 'p', '', '', 'http://127.0.0.1:1/query', NULL, '', NULL)
  ) AS t(gid, type, status, marks, options, custom, query, next, reason, ids);
UPDATE old.trans_global SET ext_data = '{"headers":{"X-Old":"1","x-b":"old"}}',
  options = '{"branch_headers":{"X-B":"new"},"concurrent":false}' WHERE gid = 's02';
INSERT INTO old.kv (cat, k, v, version, create_time, update_time) VALUES
  ('topics', 'sold', '[{"url":"http://mail/","remark":"r"},{"url":"http://stock/","remark":""}]', 7,
    '2020-01-01 00:00:00+00', '2020-01-01 00:00:01+00'),
  ('topics', 'here', '[{"url":"http://there/","remark":""}]', 1, NULL, NULL),
  ('other', 'sold', '', 1, NULL, NULL);
SELECT dtm_subscribe('here', 'http://here/');

SELECT * FROM dtm_import('old');

SELECT * FROM old.taken;
SELECT * FROM old.branches;
\pset format unaligned
SELECT gid, request FROM dtm.trans WHERE gid IN ('s02', 's05', 'm04', 'm05', 't01', 'w01')
 ORDER BY gid;
\pset format aligned
SELECT gid, branch_id, op, url, cancel, status, convert_from(data, 'UTF8') AS data
  FROM dtm.trans_branch ORDER BY gid, create_time;
SELECT topic, url, remark, version FROM dtm.topic ORDER BY topic, url;
-- What was taken is not there any more, so a second call finds nothing new.
SELECT gid, status FROM old.trans_global ORDER BY gid;
SELECT gid, branch_id, op FROM old.trans_branch_op ORDER BY gid, branch_id, op;
SELECT cat, k FROM old.kv ORDER BY cat, k;
SELECT * FROM dtm_import('old');
-- They are older than the installation, and ours all the same.
SELECT installed AT TIME ZONE 'UTC' AS installed FROM dtm.identity;
SELECT verb, role = session_user AS me, detail FROM dtm.event WHERE verb = 'import';

-- A gid that is in use here.
SELECT old.put('s02', 'saga', 'submitted', 'pp'), old.put('s97', 'saga', 'submitted', 'pp');
SELECT * FROM refused($$SELECT dtm_import('old')$$);
SELECT * FROM dtm_import('old', skip_bad => true);
DELETE FROM old.trans_global;
DELETE FROM old.trans_branch_op;
DELETE FROM old.kv;

-- What cannot go on here: nothing is taken, or the rest.
SELECT old.put('ok', 'saga', 'submitted', 'pp'), old.put('b1', 'saga', 'submitted', 'pp pp'),
       old.put('b2', 'saga', 'submitted', 'pp'), old.put('b3', 'saga', 'submitted', 'pp'),
       old.put('b''4', 'saga', 'submitted', 'pp'), old.put('b5', 'saga', 'submitted', 'pp'),
       old.put('b6', 'msg', 'submitted', 'p');
DELETE FROM old.trans_branch_op WHERE gid = 'b1' AND branch_id = '02' AND op = 'action';
UPDATE old.trans_global SET protocol = 'grpc' WHERE gid = 'b2';
UPDATE old.trans_branch_op SET bin_data = '\xff' WHERE gid = 'b3';
UPDATE old.trans_global SET trans_type = 'xyz' WHERE gid = 'b5';
UPDATE old.trans_branch_op SET url = 'stock:8080/stock.Stock/Reserve' WHERE gid = 'b6';
INSERT INTO old.kv (cat, k, v) VALUES ('topics', 'grpc', '[{"url":"mail:8080/m.M/Send"}]'),
  ('topics', 'odd', 'odd'), ('topics', 'fine', '[]');
SELECT * FROM refused($$SELECT dtm_import('old')$$);
SELECT count(*) FROM old.trans_global;
SELECT gid FROM dtm.trans WHERE gid = 'ok';
SELECT * FROM dtm_import('old', true);
SELECT string_agg(gid, ' ' ORDER BY gid) FROM old.trans_global;
SELECT count(*) FROM old.trans_branch_op;
SELECT string_agg(k, ' ' ORDER BY k) FROM old.kv;
DELETE FROM old.trans_global;
DELETE FROM old.trans_branch_op;
DELETE FROM old.kv;

-- With the caller's rights, to whom it belongs then.
CREATE ROLE regress_dtm_mover;
SELECT dtm_grant('regress_dtm_mover', 'admin');
SELECT old.put('r1', 'saga', 'submitted', 'pp');
SET ROLE regress_dtm_mover;
SELECT * FROM refused($$SELECT dtm_import('old')$$);
RESET ROLE;
SELECT dtm_grant('regress_dtm_mover', 'submit');
SET ROLE regress_dtm_mover;
SELECT * FROM refused($$SELECT dtm_import('old')$$);
RESET ROLE;
GRANT USAGE ON SCHEMA old TO regress_dtm_mover;
GRANT SELECT ON ALL TABLES IN SCHEMA old TO regress_dtm_mover;
SET ROLE regress_dtm_mover;
SELECT * FROM refused($$SELECT dtm_import('old')$$);
RESET ROLE;
GRANT DELETE ON ALL TABLES IN SCHEMA old TO regress_dtm_mover;
SET ROLE regress_dtm_mover;
SELECT * FROM dtm_import('old');
RESET ROLE;
SELECT gid, owner FROM dtm.trans WHERE gid = 'r1';
SELECT detail, role = session_user AS me FROM dtm.event WHERE verb = 'import' ORDER BY time DESC
 LIMIT 1;

-- Where dtm's tables are none, or may run something.
SELECT * FROM refused($$SELECT dtm_import(NULL)$$);
SELECT * FROM refused($$SELECT dtm_import('nowhere')$$);
SELECT * FROM refused($$SELECT dtm_import('dtm')$$);
CREATE FUNCTION old.evil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'I ran';
END $$;
CREATE FUNCTION pg_temp.refused_after(change text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  BEGIN
    EXECUTE change;
    RETURN QUERY SELECT * FROM refused('SELECT dtm_import(''old'')');
    RAISE EXCEPTION 'undone';
  EXCEPTION WHEN raise_exception THEN NULL;
  END;
END $$;
SELECT pg_temp.refused_after(change) FROM (VALUES
  ('CREATE TRIGGER t AFTER DELETE ON old.trans_branch_op FOR EACH ROW EXECUTE FUNCTION old.evil()'),
  ('CREATE RULE r AS ON DELETE TO old.kv DO ALSO NOTIFY evil'),
  ('ALTER TABLE old.trans_global ENABLE ROW LEVEL SECURITY'),
  ('ALTER TABLE old.trans_global RENAME TO x; CREATE VIEW old.trans_global AS TABLE old.x'),
  ('CREATE TABLE old.child () INHERITS (old.kv)'),
  ('ALTER TABLE old.trans_global DROP COLUMN result'),
  ('ALTER TABLE old.trans_branch_op ALTER bin_data TYPE text'),
  ('SET LOCAL transaction_read_only = on')) AS v(change);
ROLLBACK;
SELECT installed > '2020-01-03' AS fresh FROM dtm.identity;
