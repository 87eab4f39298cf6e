// See query.hpp.
#include "wire/query.hpp"

namespace dtm::wire {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string unescaped(std::string_view text, char plus) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            out.push_back(static_cast<char>(high * 16 + low));
            i += 2;
        } else {
            out.push_back(text[i] == '+' ? plus : text[i]);
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

std::string unescaped_query(std::string_view text) { return unescaped(text, ' '); }
std::string unescaped_path(std::string_view text) { return unescaped(text, '+'); }

std::pair<std::string, std::string> take_parameter(std::string_view& query) {
    std::string_view value = take(query, '&');
    std::string name = unescaped_query(take(value, '='));
    return {std::move(name), unescaped_query(value)};
}

}  // namespace dtm::wire
