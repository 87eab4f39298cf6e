// Whether writing to a table can run code of somebody else's.
#pragma once

#include "pg/postgres.hpp"

struct RelationData;

namespace dtm::store {

// True: no trigger, rule or policy, no check constraint, and no default, index expression or index
// predicate with a function that does not come with PostgreSQL. Remembered until the table changes.
bool is_plain(RelationData*);

}  // namespace dtm::store
