// The branch on whose behalf this transaction writes (dtm_branch), and what its barrier decided for
// the triggers. Both end with the (sub)transaction that made them: a pooled connection hands
// nothing on.
#pragma once

#include "api/barrier_pass.hpp"

namespace dtm::api {

// Passes the barrier and remembers what it said.
Passage pass_and_note(const BarrierBranch&, const std::optional<std::string>& barrier_id = {});
// The same; and the transaction acts for this branch from now on, unless dtm_branch() named one.
Passage pass_for_transaction(const BarrierBranch&,
                             const std::optional<std::string>& barrier_id = {});

// While it lives, what runs acts for this branch, unless dtm_branch() names another one within.
class BehindBarrier {
public:
    explicit BehindBarrier(const BarrierBranch&);
    ~BehindBarrier();
    BehindBarrier(const BehindBarrier&) = delete;
    BehindBarrier& operator=(const BehindBarrier&) = delete;

private:
    const BarrierBranch* branch_before_;
    std::size_t named_before_;
};

// None: this transaction has no branch.
const BarrierBranch* current_branch();

// The barrier of the current branch, asked at the first call and remembered: one decision per
// top-level transaction, branch and op. Raises what may_run() raises.
Passage decide_for_branch();

}  // namespace dtm::api
