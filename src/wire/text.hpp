// Small rules about text that every other file of this room needs. No JSON, no dtm.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace dtm::wire {

// The offset of the first byte that does not belong to valid UTF-8, or npos. Overlong forms,
// surrogates and code points above U+10FFFF are invalid.
std::size_t first_invalid_utf8(std::string_view text);

// `text` as something that may be shown and stored in a text column: at most `cap` bytes, cut
// between characters; NUL, other control characters (but tab, CR and LF) and invalid UTF-8 become
// '?'.
std::string printable(std::string_view text, std::size_t cap);

// Appends `text` as application/x-www-form-urlencoded, the way Go's url.QueryEscape does: space is
// '+', everything but letters, digits and -_.~ is percent-encoded.
void append_query_escaped(std::string& out, std::string_view text);

// The standard alphabet with padding, as Go prints and reads bytes in JSON.
std::string base64(std::string_view bytes);
std::optional<std::string> unbase64(std::string_view text);  // nullopt: it is none

}  // namespace dtm::wire
