// See access.hpp.
#include "store/access.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace dtm::store {

Oid tables_owner() {
    const Oid owner = pg::call([]() -> Oid {
        const Oid schema = get_namespace_oid("dtm", true);
        const Oid table = OidIsValid(schema) ? get_relname_relid("trans", schema) : InvalidOid;
        HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
        if (!HeapTupleIsValid(tuple)) return InvalidOid;
        const Oid result = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
        ReleaseSysCache(tuple);
        return result;
    });
    if (!OidIsValid(owner)) {
        throw pg::SqlError("55000", "extension dtm_pg is not installed in this database", {},
                           "Run CREATE EXTENSION dtm_pg.");
    }
    return owner;
}

Oid role_or_owner(const char* name) {
    if (name == nullptr || *name == '\0') return tables_owner();
    return pg::call([name] { return get_role_oid(name, true); });
}

bool table_exists(const char* name) {
    return pg::call([name] {
        const Oid schema = get_namespace_oid("dtm", true);
        return OidIsValid(schema) && OidIsValid(get_relname_relid(name, schema));
    });
}

}  // namespace dtm::store
