// See branch_query.hpp.
#include "wire/branch_query.hpp"

namespace dtm::wire {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string unescape(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            out.push_back(static_cast<char>(high * 16 + low));
            i += 2;
        } else {
            out.push_back(text[i] == '+' ? ' ' : text[i]);
        }
    }
    return out;
}

// Up to the separator, which is taken away, too.
std::string_view take(std::string_view& rest, char separator) {
    const std::size_t at = rest.find(separator);
    const std::string_view part = rest.substr(0, at);
    rest.remove_prefix(at == std::string_view::npos ? rest.size() : at + 1);
    return part;
}

}  // namespace

BranchQuery parse_branch_query(std::string_view text) {
    // A '?' before the first '=' ends what is no query: a URL, or nothing.
    if (const auto first = text.find_first_of("?="); first != text.npos && text[first] == '?') {
        text.remove_prefix(first + 1);
    }
    text = text.substr(0, text.find('#'));
    BranchQuery found;
    while (!text.empty()) {
        std::string_view value = take(text, '&');
        const std::string name = unescape(take(value, '='));
        std::optional<std::string>* const field = name == "trans_type"  ? &found.trans_type
                                                  : name == "gid"       ? &found.gid
                                                  : name == "branch_id" ? &found.branch_id
                                                  : name == "op"        ? &found.op
                                                                        : nullptr;
        if (field == nullptr) continue;
        std::string text_value = unescape(value);
        if (*field && **field != text_value) found.ambiguous = name;
        if (!*field) *field = std::move(text_value);
    }
    return found;
}

}  // namespace dtm::wire
