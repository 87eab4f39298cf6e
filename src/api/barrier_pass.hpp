// One passage through the barrier: writes the rows of a branch call in the caller's transaction and
// says what it may do. The count of calls, and what triggers have decided, end with the
// (sub)transaction that they belong to.
#pragma once

#include "api/barrier_branch.hpp"

namespace dtm::api {

struct Passage {
    core::Verdict verdict = core::Verdict::run;
    std::string written_by;  // the op that wrote the row that was there already
};

// Writes and judges. barrier_id none: the next number of this transaction, branch and op.
// Errors: TD001 a value is wider than its column, 55000 no table, 40001.
Passage pass_barrier(const BarrierBranch&, const std::optional<std::string>& barrier_id = {});

// Whether the business SQL is to run. Raises where skipping it would be wrong: TDF00 for a hanging
// call in strict mode; TDF00 or TD002 for the local transaction of a message, which must not
// commit.
bool may_run(const BarrierBranch&, const Passage&);

// dtm_barrier_query_prepared: true when the local transaction of the message has committed.
bool message_committed(const std::string& gid);

}  // namespace dtm::api
