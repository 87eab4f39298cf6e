-- What dtm_check() says of rights that were given behind dtm_grant()'s back. All of it is rolled
-- back.
BEGIN;
CREATE ROLE regress_dtm_writer;
CREATE ROLE regress_dtm_loader;
CREATE VIEW said AS SELECT level, finding, remedy FROM dtm_check() WHERE subject = 'rights';

-- Whoever may write all tables writes ours.
GRANT pg_write_all_data TO regress_dtm_writer;
GRANT regress_dtm_writer TO regress_dtm_loader;
SELECT * FROM said;
REVOKE pg_write_all_data FROM regress_dtm_writer;
-- What everybody may execute.
GRANT EXECUTE ON FUNCTION dtm_redirect(text, text, text), dtm.observe_all() TO PUBLIC;
SELECT * FROM said;
REVOKE EXECUTE ON FUNCTION dtm_redirect(text, text, text), dtm.observe_all() FROM PUBLIC;
SELECT * FROM said;
ROLLBACK;
