// The calls of a saga or message, as its client lists them: steps, payloads, topics, and the order
// among steps (dtm-compat.md 1.4.1, 1.4.2).
#pragma once

#include "core/types.hpp"
#include "wire/json.hpp"
#include "wire/path.hpp"
#include "wire/request.hpp"

namespace dtm::wire {

// Reads `steps` and `payloads` of the request object into request.branches and payloads; type and
// protocol are there already. Throws BadRequest.
void read_steps(json::Value object, const TopicLookup& topics, const Limits& limits,
                core::Request& request);

// Reads the orders of a saga: {"2":[0,1]}, step 2 waits for steps 0 and 1. Steps and
// options.concurrent are there already. Throws BadRequest.
void read_orders(const Path& path, json::Value orders, core::Request& request);

}  // namespace dtm::wire
