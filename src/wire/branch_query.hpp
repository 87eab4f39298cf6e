// The identity of a branch call as it travels in a URL (dtm-compat.md 4.2): trans_type, gid,
// branch_id and op in the query string.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dtm::wire {

// None: the parameter is not there. Nothing is checked beyond that.
struct BranchQuery {
    std::optional<std::string> trans_type;
    std::optional<std::string> gid;
    std::optional<std::string> branch_id;
    std::optional<std::string> op;
    std::optional<std::string> ambiguous;  // name of one that came twice, with different values
};

// Reads "gid=…&op=…", with or without a leading '?', or a whole URL. Other parameters are passed
// over; how text is decoded, query.hpp says.
BranchQuery parse_branch_query(std::string_view text);

}  // namespace dtm::wire
