// See branch_context.hpp; and dtm_branch, which sets the context.
#include "api/branch_context.hpp"

#include "pg/transaction_list.hpp"
#include "wire/branch_query.hpp"

#include <algorithm>

namespace dtm::api {
namespace {

struct Decided {
    std::string identity;
    Decision decision;
};

class Branches final : public pg::TransactionList<BarrierBranch> {};
class Decisions final : public pg::TransactionList<Decided> {};
Branches branches;
Decisions decisions;

const Decision* known_decision(const std::string& identity) {
    const auto& all = decisions.entries();
    // The last one is almost always the one.
    const auto found = std::find_if(all.rbegin(), all.rend(),
                                    [&](const auto& e) { return e.value.identity == identity; });
    return found == all.rend() ? nullptr : &found->value.decision;
}

const std::string& in_query(const std::optional<std::string>& value, const char* name) {
    if (value) return *value;
    throw pg::SqlError("TD001", std::string("the query string has no ") + name,
                       "Field: query_string",
                       "A branch call carries gid, branch_id, op and trans_type in its query "
                       "string (gRPC: in its metadata).");
}

BarrierBranch branch_of_query(const std::optional<std::string>& text) {
    if (!text || text->empty()) {
        throw pg::SqlError("TD001", std::string("the query string is ") + (text ? "empty" : "NULL"),
                           "Field: query_string",
                           "Pass what follows the ? in the URL of the branch call.");
    }
    const wire::BranchQuery query = wire::parse_branch_query(*text);
    if (query.ambiguous) {
        throw pg::SqlError("TD001", "the query string has two values for " + *query.ambiguous,
                           "Field: query_string",
                           "Give the parameter in the URL of the step another name: the "
                           "coordinator adds gid, branch_id, op and trans_type.");
    }
    const std::string& gid = in_query(query.gid, "gid");
    const std::string& branch_id = in_query(query.branch_id, "branch_id");
    const std::string& op = in_query(query.op, "op");
    return parse_barrier_branch(in_query(query.trans_type, "trans_type"), gid, branch_id, op);
}

void enter(FunctionCallInfo fcinfo, BarrierBranch branch) {
    require_company(fcinfo, "dtm_branch");
    branches.add(std::move(branch));
}

}  // namespace

Passage pass_for_transaction(const BarrierBranch& branch,
                             const std::optional<std::string>& barrier_id) {
    Passage passage = pass_barrier(branch, barrier_id);
    const bool run = passage.verdict == core::Verdict::run;
    decisions.add({barrier_identity(branch), {run, passage.verdict}});
    if (run) branches.add(branch);
    return passage;
}

const BarrierBranch* current_branch() {
    return branches.empty() ? nullptr : &branches.entries().back().value;
}

Decision decide_for_branch() {
    const BarrierBranch branch = *current_branch();
    const std::string identity = barrier_identity(branch);
    if (const Decision* known = known_decision(identity)) return *known;
    const Passage passage = pass_barrier(branch);
    const Decision decision{may_run(branch, passage), passage.verdict};
    decisions.add({identity, decision});
    return decision;
}

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_branch) {
    api::enter(fcinfo, api::barrier_branch_args(fcinfo));
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_branch_query) {
    api::enter(fcinfo, api::branch_of_query(pg::opt_text_arg(fcinfo, 0)));
    PG_RETURN_VOID();
}
