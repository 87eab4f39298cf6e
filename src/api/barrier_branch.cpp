// See barrier_branch.hpp.
#include "api/barrier_branch.hpp"

#include "api/result.hpp"

extern "C" {
#include "access/xlog.h"
#include "nodes/plannodes.h"
#include "nodes/primnodes.h"
#include "tcop/pquery.h"
}

#include <cstring>

namespace dtm::api {
namespace {

constexpr const char* where_from =
    "A branch call carries gid, branch_id, op and trans_type in its query string (gRPC: in its "
    "metadata).";

const std::string& required(const std::optional<std::string>& value, const std::string& name) {
    if (!value || value->empty()) {
        throw pg::SqlError("TD001", "the " + name + (value ? " is empty" : " is NULL"),
                           "Field: " + name, where_from);
    }
    return *value;
}

const Expr* only_expression(const List* targets) {
    if (list_length(targets) != 1) return nullptr;
    return static_cast<const TargetEntry*>(linitial(targets))->expr;
}

// The expression that a plan consists of: SELECT f(…) or SELECT * FROM f(…).
const Node* whole_plan(const PlannedStmt* statement) {
    const Plan* plan = statement->planTree;
    if (plan == nullptr || plan->qual != nullptr || plan->lefttree != nullptr) return nullptr;
    if (IsA(plan, Result)) {
        if (reinterpret_cast<const Result*>(plan)->resconstantqual != nullptr) return nullptr;
        return reinterpret_cast<const Node*>(only_expression(plan->targetlist));
    }
    if (IsA(plan, FunctionScan)) {
        const List* functions = reinterpret_cast<const FunctionScan*>(plan)->functions;
        if (list_length(functions) != 1) return nullptr;
        return static_cast<const RangeTblFunction*>(linitial(functions))->funcexpr;
    }
    return nullptr;
}

bool is_whole_statement(Oid function) {
    const Portal portal = ActivePortal;
    if (!PortalIsValid(portal) || portal->strategy != PORTAL_ONE_SELECT) return false;
    // A cursor within a function, and not a statement of a client.
    if (std::strncmp(portal->name, "<unnamed portal", 15) == 0) return false;
    if (list_length(portal->stmts) != 1) return false;
    const Node* node = whole_plan(linitial_node(PlannedStmt, portal->stmts));
    return node != nullptr && IsA(node, FuncExpr) &&
           reinterpret_cast<const FuncExpr*>(node)->funcid == function;
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
    return branch;
}

BarrierBranch barrier_branch_args(FunctionCallInfo fcinfo) {
    return parse_barrier_branch(pg::opt_text_arg(fcinfo, 0), pg::opt_text_arg(fcinfo, 1),
                                pg::opt_text_arg(fcinfo, 2), pg::opt_text_arg(fcinfo, 3));
}

void require_writable(const char* function) {
    if (!XactReadOnly) return;
    const bool standby = RecoveryInProgress();
    throw pg::SqlError(
        "25006", "cannot execute " + std::string(function) + "() in a read-only transaction",
        standby ? "This server is a standby." : "",
        standby ? "Connect to the primary, e.g. with target_session_attrs=read-write."
                : "BEGIN READ WRITE, or see default_transaction_read_only.");
}

void require_company(FunctionCallInfo fcinfo, const char* function) {
    if (in_transaction_block() || !is_whole_statement(fcinfo->flinfo->fn_oid)) return;
    throw pg::SqlError("25P01", std::string(function) + "() stands alone in its own transaction",
                       "Its row would commit before the rows that it protects are written.",
                       "BEGIN first, or use dtm_barrier_call(), which runs the SQL itself.");
}

}  // namespace dtm::api
