// The barrier's judgement: what a branch call may do, given which of its rows were there already
// (dtm-compat.md 6.6). Pure: knows the rule and dtm's spellings, not the table. The ops of every
// type stand here once; a saga that is "cancelled" would be an empty compensation for ever.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/types.hpp"

namespace dtm::core {

// Everything a branch call can be for a participant; core::Op has those that we call ourselves.
enum class BarrierOp : std::uint8_t {
    tcc_try,
    confirm,
    cancel,
    action,
    compensate,
    commit,
    rollback,
    msg
};

std::string_view to_string(BarrierOp);
std::optional<BarrierOp> parse_barrier_op(std::string_view);
// Whether a transaction of this type calls this op.
bool has_op(TransType, BarrierOp);
// For people: "action and compensate".
std::string ops_of(TransType);
// The op that this one undoes: cancel → try, compensate and rollback → action.
std::optional<BarrierOp> origin_of(BarrierOp);

enum class Verdict : std::uint8_t {
    run,        // do it
    duplicate,  // done before: answer success
    hanging,    // it was undone before it arrived: never do it
    empty,      // there is nothing to undo: answer success, and it can never happen any more
};
std::string_view to_string(Verdict);

// What the insertions found.
struct BarrierRows {
    bool origin_inserted = false;  // only asked where there is an origin
    bool own_inserted = false;
    std::string_view own_reason;  // of the row that was there; only when !own_inserted
};
Verdict judge(BarrierOp, const BarrierRows&);

// "01", "02", …: the barrier_id of the n-th call, from 1, as dtm's clients number them.
std::string barrier_id(std::uint32_t n);

}  // namespace dtm::core
