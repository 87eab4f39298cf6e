// The rule of who may see a row, once: its owner's members, and who may execute dtm.observe_all().
// A macro because it is a part of SQL literals. The view dtm.transaction says the same.
#pragma once

// $1 the gid, $2 the role that asks.
#define DTM_VISIBLE_ROW                                                \
    " FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) $1"              \
    " AND (pg_catalog.pg_has_role($2, owner::pg_catalog.oid, 'USAGE')" \
    " OR pg_catalog.has_function_privilege($2,"                        \
    " 'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE'))"
