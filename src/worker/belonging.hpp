// Do the transactions of this database belong to it? A coordinator asks before its first call and
// from time to time, and is silent when they came from elsewhere (P15): a restored dump, a copied
// database, a recovered backup. An ordinary failover is recognised and goes on.
#pragma once

#include "pg/time.hpp"

#include <optional>
#include <string>

namespace dtm::worker {

struct Belonging {
    std::optional<std::string> foreign;  // why they are not ours; none: they are
    pg::UnixTime installed{};            // older transactions are not ours either
};

// Within a pg::Spi scope; writes down what an ordinary failover changes.
Belonging look_where_we_are();

}  // namespace dtm::worker
