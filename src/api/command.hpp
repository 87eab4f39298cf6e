// One command of the caller's on a global transaction: the way of dtm_prepare(), dtm_submit(),
// dtm_abort() and dtm_register_branch() into store/commands.hpp, and its refusals in SQL's words.
#pragma once

#include "api/jsonb.hpp"
#include "store/commands.hpp"
#include "wire/request.hpp"

#include <string>

namespace dtm::api {

// Carries it out, and remembers the gid until COMMIT where its coordinator must look at it.
// SqlError for whatever is refused. Within a store::AsOwner.
store::CommandResult run_command(const store::TransCommand& command, Oid caller);

// TD001
[[noreturn]] void refuse(const wire::BadRequest&);

// A request as jsonb, and what must be known of it before it is parsed.
struct RequestText {
    std::string json;
    std::string trans_type;  // as given
    bool has_gid = false;
};
RequestText request_text(Jsonb* request);

}  // namespace dtm::api
