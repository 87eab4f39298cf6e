// The rules of who may see a row and who may act on it, once each. Macros because they are parts of
// SQL literals.
#pragma once

// Its client is a member of its owner; "t" is the row. The first half spares a look-up.
#define DTM_OWNED_ROW(role)                                                                    \
    "(t.owner::pg_catalog.oid OPERATOR(pg_catalog.=) " role " OR pg_catalog.pg_has_role(" role \
    ", t.owner::pg_catalog.oid, 'USAGE'))"

// Who sees it: its owner's members, and who may execute dtm.observe_all(). The view dtm.transaction
// says the same. $1 the gid, $2 the role that asks.
#define DTM_VISIBLE_ROW                                                \
    " FROM dtm.trans WHERE gid OPERATOR(pg_catalog.=) $1"              \
    " AND (pg_catalog.pg_has_role($2, owner::pg_catalog.oid, 'USAGE')" \
    " OR pg_catalog.has_function_privilege($2,"                        \
    " 'dtm.observe_all()'::pg_catalog.regprocedure, 'EXECUTE'))"
