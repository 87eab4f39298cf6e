// The rules for the single values of a request: URLs, headers, the order of saga steps. Each throws
// BadRequest with the path it was given.
#pragma once

#include "wire/path.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace dtm::wire {

// Longer ones are refused by many servers, and a row holds up to a thousand of them.
inline constexpr std::size_t max_url_bytes = 8192;
inline constexpr std::size_t max_header_name_bytes = 256;
inline constexpr std::size_t max_header_value_bytes = 8192;

// Scheme of `topic://name` actions.
inline constexpr std::string_view topic_scheme = "topic://";

// An http or https URL with a host, or nothing.
void check_url(const Path& path, std::string_view url);

// A header that may go along with a branch call: no control over framing or routing, no line
// breaks.
void check_header(const Path& path, std::string_view name, std::string_view value);

// `after[i]` are the steps that step i waits for, all of them valid indices. Throws when some steps
// wait for each other, and names them.
void check_no_cycle(const Path& path, const std::vector<std::vector<std::uint32_t>>& after);

// "\"text\"", shortened and made printable, for messages.
std::string quoted(std::string_view text);

}  // namespace dtm::wire
