// The gid rule and fresh gids.
#include "wire/path.hpp"
#include "wire/request.hpp"
#include "wire/text.hpp"

#include <algorithm>
#include <array>

namespace dtm::wire {

namespace {

// What is wrong with the byte, "" when nothing is.
std::string_view objection(std::string_view gid, std::size_t i) {
    const auto c = static_cast<unsigned char>(gid[i]);
    if (c == '\n' || c == '\r') return "a line break";
    if (c < 0x20 || c == 0x7F) return "a control character";
    // U+0080..U+009F, the control characters beyond ASCII, are C2 80..C2 9F.
    if (c == 0xC2 && i + 1 < gid.size() && static_cast<unsigned char>(gid[i + 1]) < 0xA0) {
        return "a control character";
    }
    switch (gid[i]) {
        case '\'':
        case '"':
        case '`':
            return "a quote";
        case ';':
            return "a semicolon";
        case '\\':
            return "a backslash";
        default:
            return {};
    }
}

}  // namespace

void check_gid(std::string_view gid, const Limits& limits) {
    const Path root;
    const Path path(root, "gid");
    constexpr const char* rule =
        "A gid is text without control characters, quotes, semicolons and backslashes.";
    if (gid.empty()) path.fail("the gid is empty", rule);
    if (gid.size() > limits.max_gid_bytes) {
        path.fail("the gid is " + std::to_string(gid.size()) + " bytes long, the limit is " +
                  std::to_string(limits.max_gid_bytes));
    }
    if (const std::size_t bad = first_invalid_utf8(gid); bad != std::string_view::npos) {
        path.fail("the gid is not valid UTF-8 at byte " + std::to_string(bad + 1));
    }
    for (std::size_t i = 0; i < gid.size(); ++i) {
        if (const auto what = objection(gid, i); !what.empty()) {
            // Their clients got away with these, and did not find their transaction again (D38).
            const bool deleted = gid[i] == ';' || gid[i] == '\n' || gid[i] == '\r';
            path.fail("the gid has " + std::string(what) + " at byte " + std::to_string(i + 1),
                      rule + std::string(deleted ? " (A dtm server deletes it silently.)" : ""));
        }
    }
}

std::string make_gid(std::span<const std::uint8_t, 16> entropy) {
    constexpr std::string_view alphabet =
        "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    static_assert(alphabet.size() == 57);
    __extension__ using Uint128 = unsigned __int128;
    Uint128 number = 0;
    for (std::size_t i = 0; i < entropy.size(); ++i) {
        std::uint8_t byte = entropy[i];
        if (i == 6) byte = static_cast<std::uint8_t>((byte & 0x0F) | 0x40);  // UUID version 4
        if (i == 8) byte = static_cast<std::uint8_t>((byte & 0x3F) | 0x80);  // RFC 4122 variant
        number = number << 8 | byte;
    }
    // 57^22 > 2^128, so 22 digits hold every number; small ones get leading zeros ('2').
    std::string gid(22, alphabet[0]);
    for (std::size_t i = gid.size(); number != 0; number /= 57) {
        gid[--i] = alphabet[static_cast<std::size_t>(number % 57)];
    }
    return gid;
}

std::string make_gid(core::Time now, std::span<const std::uint8_t, 10> chance,
                     std::string_view node) {
    std::array<std::uint8_t, 16> bytes{};
    const auto ms = static_cast<std::uint64_t>(now.time_since_epoch().count() / 1000);
    for (std::size_t i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(ms >> (8 * (5 - i)));
    std::copy(chance.begin(), chance.end(), bytes.begin() + 6);
    const std::string gid = make_gid(bytes);
    return node.empty() ? gid : std::string(node) + "-" + gid;
}

}  // namespace dtm::wire
