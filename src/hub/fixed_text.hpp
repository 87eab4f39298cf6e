// Text in shared memory: an array of fixed size, always closed by a NUL.
#pragma once

#include <algorithm>
#include <cstring>
#include <string_view>

namespace dtm::hub {

// What does not fit is cut off.
template <std::size_t N>
void put(char (&to)[N], std::string_view from) {
    const std::size_t n = std::min(from.size(), N - 1);
    std::memcpy(to, from.data(), n);
    to[n] = '\0';
}

}  // namespace dtm::hub
