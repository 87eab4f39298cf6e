// See new_gid.hpp.
#include "store/new_gid.hpp"

#include "pg/spi.hpp"
#include "wire/request.hpp"

#include <array>

namespace dtm::store {

std::string new_gid(const char* node) {
    std::array<std::uint8_t, 10> chance{};
    const bool made = pg::call([&] { return pg_strong_random(chance.data(), chance.size()); });
    if (!made) throw pg::SqlError("XX000", "the server has no random numbers to make a gid of");
    return wire::make_gid(pg::now(), chance, node == nullptr ? "" : node);
}

}  // namespace dtm::store
