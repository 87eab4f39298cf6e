// The two texts of a row in dtm.trans: `request` (what was asked for: written with the row, and
// again where the submit of a prepared one adds options) and `progress` (what has happened since).
// Canonical: equal requests give equal bytes, so a repeated one is recognised by comparing them.
// Tolerates unknown members, so a newer version can add some (P13).
#pragma once

#include "core/types.hpp"
#include "wire/api_request.hpp"

#include <string>
#include <string_view>

namespace dtm::wire {

// Everything of the request but gid and type, which are columns. One line of JSON.
std::string encode_request(const core::Request&);
// Throws std::runtime_error when the text is not one that encode_request made. The branches of tcc
// and xa are not part of the text: see add_registered().
core::Request decode_request(std::string_view gid, core::TransType, std::string_view text);
// A registered branch of tcc or xa becomes the last one of the request, with a payload of its own.
void add_registered(core::Request& request, const Registration& registration);

// The progress of all branch operations, compact JSON. Never empty.
std::string encode_progress(const core::State&);
// Fills `state.branches`, `state.query` and the durable_* members from the text, which must be that
// of the request; of tcc and xa it may know fewer branches, the first ones, and the others have
// their initial state. in_flight is always false. Throws std::runtime_error.
void decode_progress(const core::Request&, std::string_view text, core::State& state);

}  // namespace dtm::wire
