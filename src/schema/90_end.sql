-- The end of the script: nobody may execute anything, and the launcher hears of us at COMMIT.

CREATE FUNCTION dtm.installed() RETURNS pg_catalog.void
  AS 'MODULE_PATHNAME', 'dtm_installed' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dtm.installed() IS
'Internal: has the launcher look at this database when the transaction commits.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA dtm FROM PUBLIC;

SELECT dtm.own_identity(true);
SELECT dtm.installed();
