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

bool stands_in_a_path(char c) {
    const bool letter_or_digit = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    return letter_or_digit || std::string_view("/-._~!$&'()*+,;=:@").find(c) != std::string::npos;
}

}  // namespace

std::string unescaped_query(std::string_view text) { return unescaped(text, ' '); }
std::string unescaped_path(std::string_view text) { return unescaped(text, '+'); }

std::string escaped_path(std::string_view text) {
    static constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (stands_in_a_path(c)) {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += {'%', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return out;
}

std::pair<std::string, std::string> take_parameter(std::string_view& query) {
    std::string_view value = take(query, '&');
    std::string name = unescaped_query(take(value, '='));
    return {std::move(name), unescaped_query(value)};
}

}  // namespace dtm::wire
