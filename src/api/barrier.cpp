// dtm_barrier, dtm_barrier_verdict and dtm_barrier_query_prepared (design 10, dtm-compat.md 6.6).
#include "api/branch_context.hpp"
#include "api/result.hpp"

using namespace dtm;

namespace {

api::Passage pass(FunctionCallInfo fcinfo, const char* function, api::BarrierBranch& branch) {
    branch = api::barrier_branch_args(fcinfo);
    api::require_writable(function);
    api::require_company(fcinfo, function);
    return api::pass_for_transaction(branch, pg::opt_text_arg(fcinfo, 4));
}

}  // namespace

DTM_FUNCTION(dtm_barrier) {
    api::BarrierBranch branch;
    const api::Passage passage = pass(fcinfo, "dtm_barrier", branch);
    return BoolGetDatum(api::may_run(branch, passage));
}

DTM_FUNCTION(dtm_barrier_verdict) {
    api::BarrierBranch branch;
    return pg::text_datum(core::to_string(pass(fcinfo, "dtm_barrier_verdict", branch).verdict));
}

DTM_FUNCTION(dtm_barrier_query_prepared) {
    const api::BarrierBranch branch = api::parse_barrier_branch(
        pg::opt_text_arg(fcinfo, 0), pg::opt_text_arg(fcinfo, 1), "00", "msg");
    api::require_writable("dtm_barrier_query_prepared");
    return BoolGetDatum(api::message_committed(branch.gid));
}
