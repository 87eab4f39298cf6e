// Who else than their owner can change our tables, or have code run by whoever writes them.
// dtm_check() tells of it. Runs within a store::AsOwner.
#pragma once

#include "pg/spi.hpp"

#include <string>
#include <vector>

namespace dtm::store {

// "app: INSERT, TRIGGER on dtm.trans". Nobody needs such a right: the functions act as the owner.
std::vector<std::string> rights_of_others();

// "trigger audit of dtm.trans"
std::vector<std::string> code_on_tables();

}  // namespace dtm::store
