// Fresh gids, of the server's clock and its random numbers.
#pragma once

#include <string>

namespace dtm::store {

// 22 characters that sort by time, after `node` and - where it is neither null nor empty.
std::string new_gid(const char* node);

}  // namespace dtm::store
