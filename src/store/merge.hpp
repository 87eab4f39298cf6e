// What the submit of a prepared transaction changes in its stored request (D32). Pure.
#pragma once

#include "core/types.hpp"

namespace dtm::store {

// False: the request leaves its steps to what is stored, or its type has none.
bool has_steps(const core::Request&);
// The same calls in the same order, with the same bodies.
bool same_steps(const core::Request&, const core::Request&);

// The stored steps, with every option that the submit names.
core::Request merged(const core::Request& stored, const core::Request& submitted);

}  // namespace dtm::store
