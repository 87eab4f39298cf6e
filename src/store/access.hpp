// Who touches our tables. No role has rights on them; the functions of the extension read and write
// them as their owner, for as long as one of these lives, and check themselves who may do what.
#pragma once

#include "pg/spi.hpp"

namespace dtm::store {

// The owner of dtm.trans, from the system cache. SqlError 55000 when the extension is not
// installed.
Oid tables_owner();

// The role of this name, the tables' owner where it is null or empty; InvalidOid: there is none. Of
// dtm.api_role: whose the transactions of API clients are.
Oid role_or_owner(const char* name);

// Whether schema dtm has this table: the SQL in a database may be older than the library (P13).
bool table_exists(const char* name);

// Acts as the tables' owner with SPI connected. On the hot path, and so without a search_path of
// its own: statements that run in it qualify every name and every operator.
class AsOwner {
public:
    AsOwner() : role_(tables_owner()) {}

private:
    pg::AsRole role_;
    pg::Spi spi_;
};

}  // namespace dtm::store
