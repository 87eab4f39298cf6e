// See barrier_branch.hpp.
#include "api/barrier_branch.hpp"

#include "api/result.hpp"
#include "pg/tree.hpp"

extern "C" {
#include "access/transam.h"
#include "nodes/plannodes.h"
#include "nodes/primnodes.h"
#include "tcop/pquery.h"
}

namespace dtm::api {
namespace {

const std::string& required(const std::optional<std::string>& value, const std::string& name) {
    if (!value || value->empty()) {
        throw pg::SqlError("TD001", "the " + name + (value ? " is empty" : " is NULL"),
                           "Field: " + name, where_from);
    }
    return *value;
}

// Whether an expression calls a function that might use what ours says: one that does not come with
// PostgreSQL.
struct Company {
    Oid ours;
    bool with_others;
};

bool is_other(Oid function, void* context) {
    auto* company = static_cast<Company*>(context);
    return function >= FirstNormalObjectId && function != company->ours;
}

extern "C" bool look_for_others(Node* node, void* context) {
    if (node == nullptr) return false;
    if (IsA(node, SubPlan) || check_functions_in_node(node, is_other, context)) {
        static_cast<Company*>(context)->with_others = true;
        return true;
    }
    return pg::walk_expression(node, look_for_others, context);
}

void look(const void* expression, Company& company) {
    auto* node = static_cast<Node*>(const_cast<void*>(expression));
    pg::call([&] { (void)look_for_others(node, &company); });
}

// SELECT f(…), SELECT f(…) = 'run', SELECT * FROM f(…) LIMIT 1: nothing that reads or writes a
// table, and nobody else's function.
bool is_lonely(const PlannedStmt* statement, Oid function) {
    const Plan* plan = statement->planTree;
    if (statement->hasModifyingCTE || statement->subplans != NIL) return false;
    Company company{function, false};
    for (; plan != nullptr && !company.with_others; plan = plan->lefttree) {
        look(plan->targetlist, company);
        look(plan->qual, company);
        if (IsA(plan, Result)) {
            look(reinterpret_cast<const Result*>(plan)->resconstantqual, company);
        } else if (IsA(plan, FunctionScan)) {
            for (int i = 0; i < list_length(reinterpret_cast<const FunctionScan*>(plan)->functions);
                 ++i) {
                const List* functions = reinterpret_cast<const FunctionScan*>(plan)->functions;
                look(static_cast<const RangeTblFunction*>(list_nth(functions, i))->funcexpr,
                     company);
            }
        } else if (!IsA(plan, Limit) && !IsA(plan, ProjectSet)) {
            return false;
        }
    }
    return !company.with_others;
}

bool is_whole_statement(Oid function) {
    const Portal portal = ActivePortal;
    if (!PortalIsValid(portal) || portal->strategy != PORTAL_ONE_SELECT) return false;
    // A cursor, and not a statement of a client.
    if (portal->name[0] != '\0' || list_length(portal->stmts) != 1) return false;
    return is_lonely(linitial_node(PlannedStmt, portal->stmts), function);
}

bool in_transaction_block() {
    if (IsTransactionBlock()) return true;
#ifdef XACT_FLAGS_PIPELINING
    if (MyXactFlags & XACT_FLAGS_PIPELINING) return true;
#endif
    return false;
}

}  // namespace

std::string barrier_identity(const BarrierBranch& b) {
    // '\0' cannot be in a text.
    return b.gid + '\0' + b.branch_id + '\0' + std::string(core::to_string(b.op));
}

std::string a_trans(core::TransType type) {
    return (type == core::TransType::xa ? "an " : "a ") + std::string(core::to_string(type));
}

BarrierBranch parse_barrier_branch(const std::optional<std::string>& trans_type,
                                   const std::optional<std::string>& gid,
                                   const std::optional<std::string>& branch_id,
                                   const std::optional<std::string>& op) {
    BarrierBranch branch;
    const auto type = core::parse_trans_type(required(trans_type, "trans_type"));
    if (!type) {
        throw pg::SqlError("TD001", "unknown trans_type " + in_quotes(*trans_type),
                           "Field: trans_type", "Types are msg, saga, tcc, xa and workflow.");
    }
    branch.type = *type;
    branch.gid = required(gid, "gid");
    branch.branch_id = required(branch_id, "branch_id");
    const auto known = core::parse_barrier_op(required(op, "op"));
    if (!known || !core::has_op(*type, *known)) {
        const std::string message = known ? a_trans(*type) + " has no op " + in_quotes(*op)
                                          : "unknown op " + in_quotes(*op);
        throw pg::SqlError("TD001", message, "Field: op",
                           "The ops of " + a_trans(*type) + " are " + core::ops_of(*type) + ".");
    }
    branch.op = *known;
    if (branch.op == core::BarrierOp::msg && branch.branch_id != "00") {
        throw pg::SqlError("TD001", "the branch of a local transaction is 00", "Field: branch_id",
                           asked_about);
    }
    return branch;
}

BarrierBranch barrier_branch_args(FunctionCallInfo fcinfo) {
    return parse_barrier_branch(pg::opt_text_arg(fcinfo, 0), pg::opt_text_arg(fcinfo, 1),
                                pg::opt_text_arg(fcinfo, 2), pg::opt_text_arg(fcinfo, 3));
}

void require_company(FunctionCallInfo fcinfo, const char* function) {
    if (in_transaction_block() || !is_whole_statement(fcinfo->flinfo->fn_oid)) return;
    throw pg::SqlError("25P01", std::string(function) + "() stands alone in its own transaction",
                       "It would be over before the rows that it protects are written.",
                       "BEGIN first, or use dtm_barrier_call(), which runs the SQL itself.");
}

}  // namespace dtm::api
