// What the verbs of operators have in common.
#pragma once

#include <optional>
#include <string>

namespace dtm::api {

// Who is connected, whatever role he has set: for the record.
std::string session_role();
// "what: reason"
std::string with_reason(std::string what, const std::optional<std::string>& reason);

}  // namespace dtm::api
