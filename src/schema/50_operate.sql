-- Verbs, topics, rights.

CREATE FUNCTION @extschema@.dtm_retry_now(gid pg_catalog.text) RETURNS pg_catalog.bool
  AS 'MODULE_PATHNAME', 'dtm_retry_now' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_retry_now(pg_catalog.text) IS
'Has a transaction that waits for its next attempt, or was put aside, taken up when this
transaction commits. Attempts are kept. Returns false, and changes nothing, when no retry was
waiting (it is due already, or delayed by its submit). Errors: TD003 finished, TD004 unknown
gid.';

CREATE FUNCTION @extschema@.dtm_force_stop(gid pg_catalog.text) RETURNS pg_catalog.text
  AS 'MODULE_PATHNAME', 'dtm_force_stop' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_force_stop(pg_catalog.text) IS
'Gives a transaction up: its status becomes failed when this transaction commits, and nothing more
is called, no compensation either. What its branches have done must be put right by hand. Returns
the new status. Errors: TD003 finished, TD004 unknown gid.';

CREATE FUNCTION @extschema@.dtm_subscribe(topic pg_catalog.text, url pg_catalog.text,
    remark pg_catalog.text DEFAULT '') RETURNS pg_catalog.int4
  AS 'MODULE_PATHNAME', 'dtm_subscribe' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_subscribe(pg_catalog.text, pg_catalog.text, pg_catalog.text) IS
'Adds a subscriber to a topic, which is made when it does not exist. Messages submitted after the
commit call it. Returns the number of subscribers. Errors: TD001 empty argument or bad URL, TD002
subscribed already.';

CREATE FUNCTION @extschema@.dtm_unsubscribe(topic pg_catalog.text, url pg_catalog.text)
  RETURNS pg_catalog.int4
  AS 'MODULE_PATHNAME', 'dtm_unsubscribe' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_unsubscribe(pg_catalog.text, pg_catalog.text) IS
'Removes a subscriber from a topic; the topic stays. Messages submitted before still call it.
Returns the number of subscribers left. Errors: TD001 empty argument, TD004 no such topic or
subscriber.';

CREATE FUNCTION @extschema@.dtm_drop_topic(topic pg_catalog.text) RETURNS pg_catalog.int4
  AS 'MODULE_PATHNAME', 'dtm_drop_topic' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_drop_topic(pg_catalog.text) IS
'Removes a topic with its subscribers; returns how many it had. Errors: TD001 empty name, TD004 no
such topic.';

CREATE FUNCTION @extschema@.dtm_grant(role pg_catalog.regrole, level pg_catalog.text)
  RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_grant' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_grant(pg_catalog.regrole, pg_catalog.text) IS
'Gives a role the rights of a level, by GRANT: submit (submit, and see one''s own transactions),
observe (see those of all roles, dtm_check), admin (observe, and retry, stop, manage topics).
Levels add up. Error: TD001 unknown level.';

CREATE FUNCTION @extschema@.dtm_revoke(role pg_catalog.regrole) RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_revoke' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_revoke(pg_catalog.regrole) IS
'Takes back all that dtm_grant() gave to a role, of every level.';

REVOKE ALL ON FUNCTION
  @extschema@.dtm_retry_now(pg_catalog.text),
  @extschema@.dtm_force_stop(pg_catalog.text),
  @extschema@.dtm_subscribe(pg_catalog.text, pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_unsubscribe(pg_catalog.text, pg_catalog.text),
  @extschema@.dtm_drop_topic(pg_catalog.text),
  @extschema@.dtm_grant(pg_catalog.regrole, pg_catalog.text),
  @extschema@.dtm_revoke(pg_catalog.regrole)
FROM PUBLIC;
