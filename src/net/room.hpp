// The memory of texts beside their own objects.
#pragma once

#include <cstddef>
#include <string>

namespace dtm::net {

inline std::size_t room_of(const std::string& text) {
    return text.capacity() > std::string().capacity() ? text.capacity() : 0;
}

// An empty text that is assigned, or moved there, leaves the room as it is.
inline void give_up(std::string& text) noexcept { std::string().swap(text); }

}  // namespace dtm::net
