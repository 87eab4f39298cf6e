-- Protected tables that are partitioned or refer to each other.
\set SHOW_CONTEXT never
CREATE VIEW barriers AS
  SELECT gid, branch_id, op, barrier_id, reason FROM dtm_barrier.barrier WHERE gid LIKE 'p-%';

-- A partitioned table is protected with its partitions, also with those that come later.
CREATE TABLE sale (id int, region text, n int DEFAULT 0) PARTITION BY LIST (region);
CREATE TABLE sale_north PARTITION OF sale FOR VALUES IN ('north');
SELECT dtm_protect('sale');
CREATE TABLE sale_south PARTITION OF sale FOR VALUES IN ('south');
CREATE TABLE sale_west (id int, n int, region text);
ALTER TABLE sale ATTACH PARTITION sale_west FOR VALUES IN ('west');
INSERT INTO sale VALUES (1, 'north'), (2, 'south'), (3, 'west');
BEGIN;
SELECT dtm_branch('saga', 'p-1', '01', 'action');
UPDATE sale SET n = n + 1;
UPDATE sale SET region = 'west' WHERE id = 1;
INSERT INTO sale VALUES (4, 'south');
DELETE FROM sale WHERE id = 2;
COMMIT;
SELECT tableoid::regclass, * FROM sale ORDER BY id;
BEGIN;
SELECT dtm_branch('saga', 'p-1', '01', 'action');
UPDATE sale SET n = n + 1;
UPDATE sale SET region = 'north' WHERE region = 'west';
INSERT INTO sale VALUES (5, 'south');
DELETE FROM sale;
-- The partitions by name, too.
UPDATE sale_west SET n = n + 1;
INSERT INTO sale_south VALUES (6, 'south');
COPY sale_north FROM stdin (DELIMITER ',');
7,north,0
\.
SELECT * FROM refused('TRUNCATE sale');
COMMIT;
SELECT tableoid::regclass, * FROM sale ORDER BY id;
SELECT * FROM barriers;
-- A move from one partition to another in the first write is one barrier.
BEGIN;
SELECT dtm_branch('saga', 'p-2', '01', 'action');
UPDATE sale SET region = 'north' WHERE id = 1;
COMMIT;
SELECT tableoid::regclass, * FROM sale WHERE id = 1;
SELECT * FROM barriers WHERE gid = 'p-2';
SELECT dtm_unprotect('sale');
BEGIN;
SELECT dtm_branch('saga', 'p-2', '01', 'action');
UPDATE sale SET n = 9;
COMMIT;
SELECT count(*) FROM sale WHERE n = 9;
DROP TABLE sale;

-- A partition is protected with its parent or by itself, but not both.
CREATE TABLE sale (id int, region text, n int DEFAULT 0) PARTITION BY LIST (region);
CREATE TABLE sale_north PARTITION OF sale FOR VALUES IN ('north');
CREATE TABLE sale_south PARTITION OF sale FOR VALUES IN ('south');
SELECT dtm_protect('sale');
SELECT * FROM refused($$SELECT dtm_protect('sale_north')$$);
SELECT * FROM refused($$SELECT dtm_protect('sale_north', true)$$);
SELECT * FROM refused($$SELECT dtm_unprotect('sale_north')$$);
-- Its parent again, with another option, is no matter.
SELECT dtm_protect('sale', true);
SELECT dtm_unprotect('sale');
SELECT * FROM refused($$SELECT dtm_unprotect('sale_north')$$);
SELECT dtm_protect('sale_north');
SELECT replace(r, 'public.', '') FROM refused($$SELECT dtm_protect('sale')$$) AS r;
SELECT * FROM refused($$SELECT dtm_unprotect('sale')$$);
BEGIN;
SELECT dtm_branch('saga', 'p-1', '01', 'action');
INSERT INTO sale VALUES (1, 'north'), (2, 'south');
COMMIT;
SELECT tableoid::regclass, * FROM sale ORDER BY id;
SELECT dtm_unprotect('sale_north');
SELECT dtm_protect('sale'), dtm_unprotect('sale');
DROP TABLE sale;
-- The children of INHERITS have triggers of their own, or none.
CREATE TABLE base (id int);
CREATE TABLE derived () INHERITS (base);
SELECT * FROM refused($$SELECT dtm_protect('base')$$);
SELECT dtm_protect('derived'), dtm_unprotect('derived');
DROP TABLE derived;
SELECT dtm_protect('base');
DROP TABLE base;

-- Foreign keys between protected tables: both are written, or neither.
CREATE TABLE parent (id int PRIMARY KEY, n int DEFAULT 0);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE
  ON UPDATE CASCADE);
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (10, 1), (11, 1), (20, 2);
SELECT dtm_protect('parent'), dtm_protect('child');
BEGIN;
SELECT dtm_branch('saga', 'p-3', '01', 'action');
DELETE FROM parent WHERE id = 1;
UPDATE parent SET id = 3 WHERE id = 2;
INSERT INTO parent VALUES (4);
INSERT INTO child VALUES (40, 4);
COMMIT;
SELECT id FROM parent ORDER BY id;
SELECT * FROM child ORDER BY id;
BEGIN;
SELECT dtm_branch('saga', 'p-3', '01', 'action');
DELETE FROM parent WHERE id = 3;
UPDATE parent SET id = 5 WHERE id = 4;
INSERT INTO parent VALUES (6);
INSERT INTO child VALUES (60, 6);
COMMIT;
SELECT id FROM parent ORDER BY id;
SELECT * FROM child ORDER BY id;
SELECT * FROM barriers WHERE gid = 'p-3';
-- A row that only the child table skips would leave orphans.
SELECT dtm_unprotect('parent');
BEGIN;
SELECT dtm_branch('saga', 'p-3', '01', 'action');
SELECT * FROM refused('DELETE FROM parent WHERE id = 3');
SELECT * FROM refused('UPDATE parent SET id = 5 WHERE id = 4');
-- The child alone is skipped as ever, and a parent without children is no matter.
DELETE FROM child WHERE id = 40;
INSERT INTO parent VALUES (7);
DELETE FROM parent WHERE id = 7;
COMMIT;
SELECT id FROM parent ORDER BY id;
SELECT * FROM child ORDER BY id;
-- The first write of a branch may be the cascade; then it is decided there.
BEGIN;
SELECT dtm_branch('saga', 'p-4', '01', 'action');
DELETE FROM parent WHERE id = 3;
COMMIT;
SELECT * FROM child ORDER BY id;
SELECT * FROM barriers WHERE gid = 'p-4';
-- Hanging or empty, the same; and in a function, too.
BEGIN;
SELECT dtm_branch('saga', 'p-5', '01', 'compensate');
SELECT * FROM refused('DELETE FROM parent WHERE id = 4');
DO $$BEGIN UPDATE child SET id = 41 WHERE id = 40; END$$;
SELECT * FROM refused('DO $$BEGIN DELETE FROM parent WHERE id = 4; END$$');
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 'p-5', '01', 'action');
SELECT * FROM refused('DELETE FROM parent WHERE id = 4');
COMMIT;
SELECT * FROM child ORDER BY id;
-- A trigger of one's own is no foreign key: what it writes is skipped.
CREATE FUNCTION clean() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN DELETE FROM child WHERE id = 40; RETURN NULL; END$$;
CREATE TRIGGER clean AFTER UPDATE OF n ON parent FOR EACH ROW EXECUTE FUNCTION clean();
BEGIN;
SELECT dtm_branch('saga', 'p-5', '01', 'action');
UPDATE parent SET n = 1 WHERE id = 4;
COMMIT;
SELECT * FROM parent ORDER BY id;
SELECT * FROM child ORDER BY id;
DROP TABLE child, parent;
DROP FUNCTION clean;

-- Nor is one that a cascade fires: only rows that refer to something can be orphans.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent int REFERENCES parent ON DELETE CASCADE);
CREATE TABLE log (what text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO log VALUES (TG_OP || ' ' || OLD.parent); RETURN NULL; END$$;
CREATE TRIGGER noted AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION noted();
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1), (2);
SELECT dtm_protect('log');
BEGIN;
SELECT dtm_branch('saga', 'p-7', '01', 'action');
DELETE FROM parent WHERE id = 1;
COMMIT;
BEGIN;
SELECT dtm_branch('saga', 'p-7', '01', 'action');
DELETE FROM parent WHERE id = 2;
COMMIT;
SELECT count(*) FROM parent;
SELECT * FROM log;
DROP TABLE child, parent, log;
DROP FUNCTION noted;

-- SET NULL into a protected table, which is partitioned and has a name in need of quotes.
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE "Child of" (id int, parent int REFERENCES parent ON DELETE SET NULL)
  PARTITION BY RANGE (id);
CREATE TABLE "Child 1" PARTITION OF "Child of" FOR VALUES FROM (0) TO (100);
INSERT INTO parent VALUES (1);
INSERT INTO "Child of" VALUES (1, 1);
SELECT dtm_protect('"Child of"');
BEGIN;
SELECT dtm_branch('saga', 'p-5', '01', 'action');
SELECT * FROM refused('DELETE FROM parent');
COMMIT;
SELECT * FROM "Child of";
BEGIN;
SELECT dtm_branch('saga', 'p-6', '01', 'action');
DELETE FROM parent;
COMMIT;
SELECT * FROM "Child of";
SELECT * FROM barriers WHERE gid IN ('p-5', 'p-6') ORDER BY gid, op COLLATE "C";
DROP TABLE "Child of", parent;
DROP VIEW barriers;
