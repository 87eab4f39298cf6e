// See branch_query.hpp.
#include "wire/branch_query.hpp"

#include "wire/query.hpp"

namespace dtm::wire {

BranchQuery parse_branch_query(std::string_view text) {
    // A '?' before the first '=' ends what is no query: a URL, or nothing.
    if (const auto first = text.find_first_of("?="); first != text.npos && text[first] == '?') {
        text.remove_prefix(first + 1);
    }
    text = text.substr(0, text.find('#'));
    BranchQuery found;
    while (!text.empty()) {
        auto [name, value] = take_parameter(text);
        std::optional<std::string>* const field = name == "trans_type"  ? &found.trans_type
                                                  : name == "gid"       ? &found.gid
                                                  : name == "branch_id" ? &found.branch_id
                                                  : name == "op"        ? &found.op
                                                                        : nullptr;
        if (field == nullptr) continue;
        if (*field && **field != value) found.ambiguous = name;
        if (!*field) *field = std::move(value);
    }
    return found;
}

}  // namespace dtm::wire
