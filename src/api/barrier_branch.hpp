// Who calls: the identity of a branch call, checked. Shared by every function of the barrier, so
// that wrong use reads the same everywhere.
#pragma once

#include "core/barrier.hpp"
#include "pg/spi.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace dtm::api {

struct BarrierBranch {
    core::TransType type = core::TransType::saga;
    core::BarrierOp op = core::BarrierOp::action;
    std::string gid;
    std::string branch_id;
    bool operator==(const BarrierBranch&) const = default;
};

// One string for (gid, branch_id, op), the identity of what the barrier counts and decides.
std::string barrier_identity(const BarrierBranch&);

// TD001: an unknown word, an op that the type does not have, or nothing where something must be.
BarrierBranch parse_barrier_branch(const std::optional<std::string>& trans_type,
                                   const std::optional<std::string>& gid,
                                   const std::optional<std::string>& branch_id,
                                   const std::optional<std::string>& op);
// Of the arguments 0 to 3: trans_type, gid, branch_id, op.
BarrierBranch barrier_branch_args(FunctionCallInfo);

// Where the four words of an identity come from.
inline constexpr const char* where_from =
    "A branch call carries gid, branch_id, op and trans_type in its query string (gRPC: in its "
    "metadata).";
// Why a local transaction (op msg) has one branch and one barrier_id.
inline constexpr const char* asked_about =
    "dtm_barrier('msg', gid, '00', 'msg') is what dtm_barrier_query_prepared() asks about.";

// "a saga", "an xa"
std::string a_trans(core::TransType);

// 25P01 when the statement is nothing but this function in a transaction of its own: what it says
// would be over before anybody could act on it.
void require_company(FunctionCallInfo, const char* function);

}  // namespace dtm::api
