// Single values of a request: each function reads one, or says where and what is wrong with it
// (BadRequest). null and absent are the same everywhere (dtm-compat.md 1.1.1).
#pragma once

#include "core/types.hpp"
#include "wire/json.hpp"
#include "wire/path.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace dtm::wire {

// "steps must be a list, not a string"
[[noreturn]] void wrong_kind(const Path& path, std::string_view wanted, json::Value value,
                             std::string hint = {});

json::Document parse_text(const Path& path, std::string_view text, int max_depth,
                          json::Trailing trailing = json::Trailing::refuse);

// "the request is 2000000 bytes long, the limit is 1048576"
void check_size(std::string_view text, const Limits& limits);
void check_object(const Path& path, json::Value value);

bool read_bool(const Path& path, json::Value value);
// Text that will be stored: a text column cannot hold NUL. "" when absent.
std::string_view read_string(const Path& path, json::Value value, const char* hint = "");
std::int64_t read_count(const Path& path, json::Value value, std::int64_t limit);
core::Seconds read_seconds(const Path& path, json::Value value);

// Without blanks and tabs at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace dtm::wire
