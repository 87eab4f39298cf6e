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

// For a function that is given the columns of a row by a query: its registered branches, if
// `viewer` may see the row, as that query's snapshot shows them. Opens its own scopes.
std::vector<wire::Registration> registered_of(std::string_view gid, std::string_view trans_type,
                                              Oid viewer);

}  // namespace dtm::api
