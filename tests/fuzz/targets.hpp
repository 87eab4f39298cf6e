// What is fuzzed. Each target reads bytes of a stranger and checks what must hold of every input;
// it ends the process when something does not. No exception may leave it.
#pragma once

#include "core/types.hpp"

#include <string_view>

namespace dtm::fuzz {

// Ends the process with a message, as a sanitizer would.
void must(bool holds, const char* what, std::string_view about = {});

// Everything of two requests but what follows from the rest.
bool same(const core::Request&, const core::Request&);

// First byte: the command (p s a f h w). Rest: the transaction object.
void trans(std::string_view input);
void registration(std::string_view input);
void rpc(std::string_view input);
void target(std::string_view input);  // parse_target and parse_branch_query
// First byte: the size of the pieces. Rest: what a client sends to the listener.
void http(std::string_view input);
// First byte: which status. Rest: the body of an answer.
void classify(std::string_view input);
// First byte: the type (m s t x w). Rest: the column `request`.
void stored_request(std::string_view input);
// First byte: how many branches. Rest: the column `progress`.
void stored_progress(std::string_view input);
// A URL, a line feed, a payload: the body of a JSON-RPC call.
void rpc_call(std::string_view input);

}  // namespace dtm::fuzz
