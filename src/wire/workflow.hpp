// A workflow's custom_data (dtm-compat.md 1.4.1): {"name":"…","data":"<base64>"}.
#pragma once

#include "core/types.hpp"
#include "wire/path.hpp"

namespace dtm::wire {

// Sets workflow_name and workflow_data from custom_data. Throws BadRequest.
void read_workflow(const Path& path, core::Request& request);

}  // namespace dtm::wire
