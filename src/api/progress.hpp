// The rows of dtm.trans as the functions and views of this room read them: wire/progress.hpp.
#pragma once

#include "pg/time.hpp"
#include "wire/progress.hpp"

namespace dtm::api {

static_assert(std::is_same_v<pg::UnixTime, core::Time>);

using wire::kept_back;
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

// The first arguments of a function that is given those columns: gid, trans_type, status,
// create_time, some other time, request, progress. nullopt when one is NULL that never is in a row.
struct RowArg {
    RowTexts texts;
    std::optional<pg::UnixTime> time;  // the other one
};
std::optional<RowArg> row_arg(FunctionCallInfo fcinfo);

}  // namespace dtm::api
