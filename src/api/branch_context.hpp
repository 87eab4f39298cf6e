// The branch on whose behalf this transaction writes (dtm_branch), and what its barrier decided for
// the triggers. Both end with the (sub)transaction that made them: a pooled connection hands
// nothing on.
#pragma once

#include "api/barrier_pass.hpp"

namespace dtm::api {

// Passes the barrier and remembers what it said. When it said run, the transaction acts for this
// branch from now on, so that dtm_barrier() and dtm_barrier_call() may write protected tables.
Passage pass_for_transaction(const BarrierBranch&,
                             const std::optional<std::string>& barrier_id = {});

// None: this transaction has no branch.
const BarrierBranch* current_branch();

// The barrier of the current branch, asked at the first call and remembered: one decision per
// top-level transaction, branch and op. Raises what may_run() raises.
struct Decision {
    bool run = false;
    core::Verdict verdict = core::Verdict::run;
};
Decision decide_for_branch();

}  // namespace dtm::api
