// The rows of dtm.trans as the functions and views of this room read them: wire/progress.hpp.
#pragma once

#include "pg/time.hpp"
#include "wire/progress.hpp"

namespace dtm::api {

static_assert(std::is_same_v<pg::UnixTime, core::Time>);

using wire::Operation;
using wire::operations;
using wire::Progress;
using wire::read_progress;
using wire::RowTexts;
using wire::worst;

}  // namespace dtm::api
