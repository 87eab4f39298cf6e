// See plain_table.hpp. Code in indexes runs even while a query is planned, so they are looked at,
// too.
#include "store/plain_table.hpp"

#include "pg/call.hpp"
#include "pg/tree.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"
}

namespace dtm::store {
namespace {

Oid known_table = InvalidOid;  // whose answer is known; invalid: none
bool known_answer = false;

extern "C" void forget_plain(Datum, Oid relation) {
    if (relation == known_table || !OidIsValid(relation)) known_table = InvalidOid;
}

bool is_foreign(Oid function, void*) { return function >= FirstNormalObjectId; }

extern "C" bool calls_foreign_function(Node* node, void* context) {
    if (node == nullptr) return false;
    if (check_functions_in_node(node, is_foreign, context)) return true;
    // A domain's constraints, or a conversion of the type's own.
    if (IsA(node, CoerceToDomain) || IsA(node, CoerceViaIO)) return true;
    return pg::walk_expression(node, calls_foreign_function, context);
}

// From the catalog, and not from the index' relation: PostgreSQL folds constants there, which is to
// run the code that is asked about.
bool runs_in_indexes(Relation table) {
    bool runs = false;
    List* indexes = RelationGetIndexList(table);
    for (int i = 0; i < list_length(indexes) && !runs; ++i) {
        HeapTuple index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(list_nth_oid(indexes, i)));
        if (!HeapTupleIsValid(index)) continue;
        for (const int part : {Anum_pg_index_indexprs, Anum_pg_index_indpred}) {
            bool none = false;
            const Datum stored =
                SysCacheGetAttr(INDEXRELID, index, static_cast<AttrNumber>(part), &none);
            if (none) continue;
            auto* node = static_cast<Node*>(stringToNode(TextDatumGetCString(stored)));
            runs = runs || calls_foreign_function(node, nullptr);
        }
        ReleaseSysCache(index);
    }
    list_free(indexes);
    return runs;
}

bool runs_in_columns(Relation table) {
    TupleDesc columns = RelationGetDescr(table);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        // A domain has constraints of its own; other types of users have functions of their own.
        if (!column->attisdropped && column->atttypid >= FirstNormalObjectId) return true;
    }
    const TupleConstr* constraints = RelationGetDescr(table)->constr;
    if (constraints == nullptr) return false;
    if (constraints->num_check > 0) return true;
    for (int i = 0; i < constraints->num_defval; ++i) {
        auto* value = static_cast<Node*>(stringToNode(constraints->defval[i].adbin));
        if (calls_foreign_function(value, nullptr)) return true;
    }
    return false;
}

// Plain C, within pg::call.
bool look(Relation table) {
    // Not relhastriggers: that says yes until the next VACUUM after the last one was dropped.
    if (table->trigdesc != nullptr && table->trigdesc->numtriggers > 0) return false;
    if (table->rd_rules != nullptr || table->rd_rel->relrowsecurity) return false;
    return !runs_in_columns(table) && !runs_in_indexes(table);
}

}  // namespace

bool is_plain(RelationData* table) {
    static bool watching = false;
    if (!watching) {
        pg::call([] { CacheRegisterRelcacheCallback(forget_plain, Datum{0}); });
        watching = true;
    }
    const Oid oid = RelationGetRelid(table);
    if (known_table == oid) return known_answer;
    known_answer = pg::call([table] { return look(table); });
    known_table = oid;
    return known_answer;
}

}  // namespace dtm::store
