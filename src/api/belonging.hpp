// Why the coordinator of this database is silent, asked by a session (P15).
#pragma once

#include <optional>
#include <string>

namespace dtm::api {

// Within a pg::Spi scope. None: its transactions are its own.
std::optional<std::string> why_foreign();

}  // namespace dtm::api
