// Says in one sentence where a request differs from a stored one of the same gid.
#pragma once

#include "core/types.hpp"
#include "store/trans.hpp"

#include <string>

namespace dtm::api {

std::string difference(const store::Row& stored, const core::Request& request);

}  // namespace dtm::api
