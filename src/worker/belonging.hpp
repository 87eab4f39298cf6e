// Do the transactions of this database belong to it? A coordinator asks before its first call and
// from time to time, and is silent when they came from elsewhere (P15): a restored dump, a copied
// database, a recovered backup. An ordinary failover is recognised and goes on.
#pragma once

#include "store/identity.hpp"

namespace dtm::worker {

// Within a pg::Spi scope; writes down what must be known at the next start.
store::Belonging look_where_we_are();

}  // namespace dtm::worker
