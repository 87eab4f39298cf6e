// What the verbs of operators have in common.
#pragma once

#include "store/verbs.hpp"

#include <optional>
#include <string>

namespace dtm::api {

// Who is connected, whatever role he has set: for the record.
std::string session_role();
// "what: reason"
std::string with_reason(std::string what, const std::optional<std::string>& reason);
// The row, locked for a verb. TD004 for an unknown one, TD003 for a finished one.
store::Locked lock_unfinished(std::string_view gid, Oid viewer, std::string_view wish);
// As lock_unfinished; where a gid looks like a URL, the hint says how to name a host.
store::Locked lock_for_order(std::string_view gid, Oid viewer, std::string_view wish);
// dtm_resume(gid): what waited for a retry when it was paused is called at once, too.
void resume_transaction(const std::string& gid, Oid viewer, const std::string& role);

}  // namespace dtm::api
