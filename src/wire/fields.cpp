// See fields.hpp.
#include "wire/fields.hpp"

namespace dtm::wire {

using json::Kind;
using json::Value;

namespace {

// Ten years. A longer time is a mistake (milliseconds, say), and sums of times must not overflow.
constexpr std::int64_t max_seconds = std::int64_t{10} * 366 * 86400;

}  // namespace

void wrong_kind(const Path& path, std::string_view wanted, Value value, std::string hint) {
    std::string message = path.name();
    message += " must be ";
    message += wanted;
    message += ", not ";
    message += json::article(value.kind());
    path.fail(std::move(message), std::move(hint));
}

json::Document parse_text(const Path& path, std::string_view text, int max_depth,
                          json::Trailing trailing) {
    try {
        return json::Document(text, max_depth, trailing);
    } catch (const json::SyntaxError& error) {
        path.fail(std::string(error.what()) + " (byte " + std::to_string(error.offset + 1) + ")");
    }
}

void check_size(std::string_view text, const Limits& limits) {
    if (text.size() <= limits.max_body_bytes) return;
    Path().fail("the request is " + std::to_string(text.size()) + " bytes long, the limit is " +
                std::to_string(limits.max_body_bytes));
}

void check_object(const Path& path, Value value) {
    if (value.kind() != Kind::object) wrong_kind(path, "an object", value);
}

bool read_bool(const Path& path, Value value) {
    if (value.is_null()) return false;
    if (value.kind() != Kind::boolean) wrong_kind(path, "true or false", value);
    return value.boolean();
}

std::string_view read_string(const Path& path, Value value, const char* hint) {
    if (value.is_null()) return {};
    if (value.kind() != Kind::string) wrong_kind(path, "a string", value, hint);
    const std::string_view text = value.string();
    if (const auto nul = text.find('\0'); nul != std::string_view::npos) {
        path.fail(path.name() + " contains the character NUL (\\u0000) at byte " +
                      std::to_string(nul + 1),
                  "PostgreSQL cannot store it in a text column.");
    }
    return text;
}

std::int64_t read_count(const Path& path, Value value, std::int64_t limit) {
    if (value.is_null()) return 0;
    if (value.kind() != Kind::integer) wrong_kind(path, "a whole number", value);
    const auto number = value.integer();
    if (number && *number < 0) path.fail(path.name() + " must not be negative");
    if (!number || *number > limit) {
        path.fail(path.name() + " must not be larger than " + std::to_string(limit));
    }
    return *number;
}

core::Seconds read_seconds(const Path& path, Value value) {
    return core::Seconds(read_count(path, value, max_seconds));
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t";
    const auto from = text.find_first_not_of(blanks);
    if (from == std::string_view::npos) return {};
    return text.substr(from, text.find_last_not_of(blanks) - from + 1);
}

}  // namespace dtm::wire
