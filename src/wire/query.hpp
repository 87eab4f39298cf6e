// Paths and query strings of URLs (application/x-www-form-urlencoded). Nothing throws: a
// '%' that no two hexadecimal digits follow stays as it is.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace dtm::wire {

// Percent-encoding taken away. '+' is a space in a query string, and a plus in a path.
std::string unescaped_query(std::string_view text);
std::string unescaped_path(std::string_view text);
// A path that reads as `text` again when its percent-encoding is taken away.
std::string escaped_path(std::string_view text);

// Takes the first parameter off "a=1&b=2": its name and its value, unescaped.
std::pair<std::string, std::string> take_parameter(std::string_view& query);

}  // namespace dtm::wire
