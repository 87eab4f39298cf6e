-- Gids are of one length, differ, and sort by time.
SELECT length(dtm_new_gid()), dtm_new_gid() ~ '^[2-9A-HJ-NP-Za-km-z]{22}$' AS letters;
SELECT count(DISTINCT dtm_new_gid()) FROM generate_series(1, 1000);
CREATE TEMP TABLE gid (n int, gid text COLLATE "C");
INSERT INTO gid SELECT 1, dtm_new_gid();
SELECT pg_sleep(0.005);
INSERT INTO gid SELECT 2, dtm_new_gid();
SELECT array_agg(n ORDER BY gid) FROM gid;
