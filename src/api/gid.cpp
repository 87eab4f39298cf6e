// See gid.hpp.
#include "api/gid.hpp"

#include "hub/settings.hpp"
#include "pg/spi.hpp"
#include "wire/request.hpp"

namespace dtm::api {

std::string new_gid() {
    // As UUIDv7: 48 bits of milliseconds since 1970 first, then chance. Neighbours in time are
    // neighbours in the index.
    std::uint8_t bytes[16];
    const auto ms = static_cast<std::uint64_t>(pg::now().time_since_epoch().count() / 1000);
    for (int i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(ms >> (8 * (5 - i)));
    const bool made = pg::call([&] { return pg_strong_random(bytes + 6, 10); });
    if (!made) throw pg::SqlError("XX000", "the server has no random numbers to make a gid of");
    const std::string gid = wire::make_gid(bytes);
    const char* node = hub::settings.node_name;
    return node != nullptr && *node != '\0' ? std::string(node) + "-" + gid : gid;
}

}  // namespace dtm::api

DTM_FUNCTION(dtm_new_gid) { return dtm::pg::text_datum(dtm::api::new_gid()); }
