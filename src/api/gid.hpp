// Fresh gids.
#pragma once

#include <string>

namespace dtm::api {

// Sorts by time of making (to the millisecond), is unique without asking anybody, and begins with
// dtm.node_name and '-' where that is set.
std::string new_gid();

}  // namespace dtm::api
