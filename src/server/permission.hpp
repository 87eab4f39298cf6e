// What clients of the API may do: what dtm.api_role may do in SQL (design 13).
#pragma once

#include "server/job.hpp"
#include "store/permitted.hpp"

#include <optional>

namespace dtm::server {

class Permission {
public:
    // Within a transaction and a pg::Spi scope, once per turn; asks the catalog only after
    // something changed there.
    void look_up(Oid role);
    // What a client hears who asks for what the role may not do.
    std::optional<Answer> refusal(Route) const;

private:
    Oid role_ = InvalidOid;
    std::optional<store::Permitted> permitted_;
};

}  // namespace dtm::server
