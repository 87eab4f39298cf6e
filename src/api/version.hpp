// The version of the library. `dtm_check()` compares it with the version of the SQL in the
// database; the regress test `install` fails when it is not the one of dtm_pg.control.
#pragma once

namespace dtm::api {

inline constexpr const char* library_version = "0.2.0";

}  // namespace dtm::api
