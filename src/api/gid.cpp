// See gid.hpp.
#include "api/gid.hpp"

#include "hub/settings.hpp"
#include "pg/spi.hpp"
#include "store/new_gid.hpp"

namespace dtm::api {

std::string new_gid() { return store::new_gid(hub::settings.node_name); }

}  // namespace dtm::api

DTM_FUNCTION(dtm_new_gid) { return dtm::pg::text_datum(dtm::api::new_gid()); }
