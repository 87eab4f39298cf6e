-- One row per global transaction. Its branches are derived from request and progress: a two-branch
-- saga costs one INSERT and one UPDATE. No CHECKs but one: rows are written by our functions only.
CREATE TABLE dtm.trans (
  gid                 pg_catalog.text COLLATE "C" NOT NULL,
  trans_type          pg_catalog.text NOT NULL,
  status              pg_catalog.text NOT NULL,
  owner               pg_catalog.regrole NOT NULL,
  request             pg_catalog.text NOT NULL,
  progress            pg_catalog.text,
  version             pg_catalog.int8 NOT NULL DEFAULT 1,
  attempts            pg_catalog.int4 NOT NULL DEFAULT 0,
  create_time         pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  update_time         pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finish_time         pg_catalog.timestamptz,
  rollback_time       pg_catalog.timestamptz,
  next_cron_time      pg_catalog.timestamptz,
  next_cron_interval  pg_catalog.int4,
  last_error          pg_catalog.text,
  rollback_reason     pg_catalog.text,
  result              pg_catalog.text,
  attention           pg_catalog.text,
  CONSTRAINT trans_pkey PRIMARY KEY (gid)
)
-- Every row is inserted once and updated once or a few times: room in the page keeps that HOT when
-- next_cron_time does not change, and vacuum comes often enough that dead index entries of finished
-- rows never pile up.
WITH (
  fillfactor = 85,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0.1,
  autovacuum_analyze_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 0
);

-- Partial on next_cron_time alone: a predicate on status would make every change of status non-HOT.
CREATE INDEX trans_due ON dtm.trans (next_cron_time) WHERE next_cron_time IS NOT NULL;
-- Almost always empty.
CREATE INDEX trans_attention ON dtm.trans (gid) WHERE attention IS NOT NULL;

-- lz4 where the server was built with it: 20 kB requests are stored twice as fast as with pglz.
DO $do$
BEGIN
  IF pg_catalog.current_setting('server_version_num')::pg_catalog.int4
     OPERATOR(pg_catalog.>=) 140000 THEN
    EXECUTE 'ALTER TABLE dtm.trans ALTER COLUMN request SET COMPRESSION lz4';
    EXECUTE 'ALTER TABLE dtm.trans ALTER COLUMN progress SET COMPRESSION lz4';
  END IF;
EXCEPTION WHEN feature_not_supported THEN
  NULL;
END
$do$;

COMMENT ON TABLE dtm.trans IS
  'One row per global transaction. Written by the functions of dtm_pg only; read dtm.transaction.';
COMMENT ON COLUMN dtm.trans.gid IS 'Global id; names one transaction for ever.';
COMMENT ON COLUMN dtm.trans.trans_type IS 'saga or msg.';
COMMENT ON COLUMN dtm.trans.status IS
  'prepared, submitted, aborting, succeed or failed; dtm.state_transitions() lists the changes.';
COMMENT ON COLUMN dtm.trans.owner IS 'The role that submitted it.';
COMMENT ON COLUMN dtm.trans.request IS 'Steps, payloads and options: JSON text, never changed.';
COMMENT ON COLUMN dtm.trans.progress IS
  'What happened to each branch: JSON text. NULL: nothing written since the submit, every '
  'action may have run; or, with status succeed, every action succeeded at its first call.';
COMMENT ON COLUMN dtm.trans.version IS
  'Grows with every write; a writer names the one it has read.';
COMMENT ON COLUMN dtm.trans.attempts IS 'Calls made for it.';
COMMENT ON COLUMN dtm.trans.create_time IS 'When it was submitted, by the clock of the database.';
COMMENT ON COLUMN dtm.trans.update_time IS 'When the row was last written.';
COMMENT ON COLUMN dtm.trans.finish_time IS 'When it reached succeed.';
COMMENT ON COLUMN dtm.trans.rollback_time IS 'When it reached failed.';
COMMENT ON COLUMN dtm.trans.next_cron_time IS
  'When the coordinator looks at it by itself. NULL: never (finished or put aside).';
COMMENT ON COLUMN dtm.trans.next_cron_interval IS 'Current retry interval in seconds.';
COMMENT ON COLUMN dtm.trans.last_error IS 'Last answer of a branch that was not a success.';
COMMENT ON COLUMN dtm.trans.rollback_reason IS 'Why it was decided to roll back.';
COMMENT ON COLUMN dtm.trans.result IS 'Result for whoever waits for it; unused by saga and msg.';
COMMENT ON COLUMN dtm.trans.attention IS 'Why it was put aside; dtm.attention lists it.';

-- dtm's key-value table; cat 'topics': k is the topic, v the JSON list of its subscribers.
CREATE TABLE dtm.kv (
  cat          pg_catalog.text COLLATE "C" NOT NULL,
  k            pg_catalog.text COLLATE "C" NOT NULL,
  v            pg_catalog.text NOT NULL,
  version      pg_catalog.int8 NOT NULL DEFAULT 1,
  create_time  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  update_time  pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  CONSTRAINT kv_pkey PRIMARY KEY (cat, k)
);
COMMENT ON TABLE dtm.kv IS
  'Topics and their subscribers. Written by dtm_subscribe(), dtm_unsubscribe() and '
  'dtm_drop_topic(); read dtm.topic.';
COMMENT ON COLUMN dtm.kv.cat IS 'Kind of the entry: topics.';
COMMENT ON COLUMN dtm.kv.k IS 'Name of the topic.';
COMMENT ON COLUMN dtm.kv.v IS 'JSON text [{"url": …, "remark": …}, …].';
COMMENT ON COLUMN dtm.kv.version IS 'Grows with every write.';
COMMENT ON COLUMN dtm.kv.create_time IS 'When the entry was made.';
COMMENT ON COLUMN dtm.kv.update_time IS 'When the entry was last written.';

-- A dump carries what a user would lose.
SELECT pg_catalog.pg_extension_config_dump('dtm.trans', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.kv', '');

REVOKE ALL ON TABLE dtm.trans, dtm.kv FROM PUBLIC;
