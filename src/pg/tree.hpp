// PostgreSQL's tree walkers, callable from C++ in every version. They ereport: within pg::call.
#pragma once

#include "pg/postgres.hpp"

extern "C" {
#include "nodes/nodeFuncs.h"
}

namespace dtm::pg {

using Walker = bool (*)(Node*, void*);

#if PG_VERSION_NUM >= 160000
inline bool walk_expression(Node* node, Walker walker, void* context) {
    return expression_tree_walker(node, walker, context);
}
inline bool walk_raw(Node* node, Walker walker, void* context) {
    return raw_expression_tree_walker(node, walker, context);
}
#else
// Before 16 the prototypes name no parameters of the walker, which C++ reads as none.
inline auto* nameless(Walker walker) {
    return reinterpret_cast<bool (*)()>(reinterpret_cast<void*>(walker));
}
inline bool walk_expression(Node* node, Walker walker, void* context) {
    return expression_tree_walker(node, nameless(walker), context);
}
inline bool walk_raw(Node* node, Walker walker, void* context) {
    return raw_expression_tree_walker(node, nameless(walker), context);
}
#endif

}  // namespace dtm::pg
