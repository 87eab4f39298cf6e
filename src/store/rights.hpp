// Who else than their owner can change our tables, or have code run by whoever writes them; and
// roles that are gone. dtm_check() tells of it. Runs within a store::AsOwner.
#pragma once

#include "pg/spi.hpp"

#include <string>
#include <vector>

namespace dtm::store {

// "app: INSERT, TRIGGER on dtm.trans". Nobody needs such a right: the functions act as the owner.
std::vector<std::string> rights_of_others();

// "dtm_redirect(text,text,text)": functions of the extension that PUBLIC may execute.
std::vector<std::string> functions_of_everybody();

// "trigger audit of dtm.trans"
std::vector<std::string> code_on_tables();

// "16423 (2 transactions)": owners of unfinished transactions that are roles no more.
std::vector<std::string> missing_owners();

}  // namespace dtm::store
