-- Every object of the extension says what it is. Expected: no row.
SELECT pg_describe_object(classid, objid, 0)
  FROM pg_depend d
 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'dtm_pg')
   AND classid <> 'pg_type'::regclass  -- row types: members since PostgreSQL 17
   AND obj_description(objid, classid::regclass::text) IS NULL
 ORDER BY 1;
SELECT attrelid::regclass, attname
  FROM pg_attribute
 WHERE attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'v')
                      AND relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace))
   AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
 ORDER BY 1, 2;
-- Functions for users say which errors they raise, or raise none.
SELECT proname FROM pg_proc
 WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'dtm\_%'
   AND obj_description(oid, 'pg_proc') !~ 'TD00|Errors: as|As the form'
 ORDER BY 1;
