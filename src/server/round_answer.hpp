// What a client hears that asked to wait for the first round (dtm-compat.md 1.5.4), given how the
// round ended. Pure.
#pragma once

#include "core/command.hpp"
#include "server/server.hpp"

namespace dtm::server {

// `command`: submit or abort.
wire::ApiOutcome round_answer(core::Command command, const RoundEnd& end);

}  // namespace dtm::server
