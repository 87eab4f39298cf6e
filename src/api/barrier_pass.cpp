// See barrier_pass.hpp.
#include "api/barrier_pass.hpp"

#include "api/result.hpp"
#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "pg/transaction_list.hpp"
#include "store/barrier.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace dtm::api {
namespace {

// Calls so far of each branch and op in this transaction.
pg::TransactionMap<std::uint32_t> calls;

std::uint32_t next_call(const std::string& identity) {
    const std::uint32_t* before = calls.find(identity);
    const std::uint32_t number = before == nullptr ? 1 : *before + 1;
    calls.put(identity, number);
    return number;
}

void fit(const store::BarrierTable& table, const char* column, std::string_view value) {
    const auto width = table.width(column);
    if (!width || value.size() <= static_cast<std::size_t>(*width)) return;
    const char* data = value.data();
    const int bytes = static_cast<int>(value.size());
    const int length = pg::call([&] { return pg_mbstrlen_with_len(data, bytes); });
    if (length <= *width) return;
    throw pg::SqlError("TD001",
                       "the " + std::string(column) + " is " + std::to_string(length) +
                           " characters long, the column takes " + std::to_string(*width),
                       std::string("Field: ") + column);
}

constexpr int max_attempts = 10;

// Triggers, rules or policies can do that.
[[noreturn]] void rows_vanish(const BarrierBranch& branch) {
    throw pg::SqlError("55000", "rows of dtm_barrier.barrier vanish or are changed",
                       "Neither an INSERT nor a SELECT finds the row of branch " +
                           branch.branch_id + ", op " + std::string(core::to_string(branch.op)) +
                           ".",
                       "See the triggers, rules and policies of the table.");
}

// dtm_barrier_query_prepared() asks about one row only: another one would lose the message.
void check_local_transaction(const BarrierBranch& branch,
                             const std::optional<std::string>& barrier_id) {
    if (branch.op == core::BarrierOp::msg && barrier_id && *barrier_id != "01") {
        throw pg::SqlError("TD001", "the barrier_id of a local transaction is 01",
                           "Field: barrier_id", asked_about);
    }
}

std::string barrier_id_of(const BarrierBranch& branch,
                          const std::optional<std::string>& barrier_id) {
    if (barrier_id) return *barrier_id;
    if (branch.op == core::BarrierOp::msg) return core::barrier_id(1);
    return core::barrier_id(next_call(barrier_identity(branch)));
}

store::BarrierKey key_of(const BarrierBranch& branch, std::string_view barrier_id) {
    return {core::to_string(branch.type), branch.gid, branch.branch_id, barrier_id};
}

}  // namespace

Passage pass_barrier(const BarrierBranch& branch, const std::optional<std::string>& barrier_id) {
    if (barrier_id && barrier_id->empty()) {
        throw pg::SqlError("TD001", "the barrier_id is empty", "Field: barrier_id",
                           "NULL, or leaving it out, counts 01, 02, ... by itself.");
    }
    check_local_transaction(branch, barrier_id);
    const store::BarrierTable table;
    fit(table, "trans_type", core::to_string(branch.type));
    fit(table, "gid", branch.gid);
    fit(table, "branch_id", branch.branch_id);
    fit(table, "op", core::to_string(branch.op));
    if (barrier_id) fit(table, "barrier_id", *barrier_id);
    const std::string id = barrier_id_of(branch, barrier_id);
    const store::BarrierKey key = key_of(branch, id);
    const std::string_view op = core::to_string(branch.op);

    const store::AsBarrierOwner as_owner(table);
    for (int attempt = 0; attempt < max_attempts; ++attempt) {
        core::BarrierRows found;
        if (const auto origin = core::origin_of(branch.op)) {
            found.origin_inserted = store::insert_barrier(key, core::to_string(*origin), op);
        }
        found.own_inserted = store::insert_barrier(key, op, op);
        DTM_CRASH_POINT("api.barrier_written");
        if (found.origin_inserted || found.own_inserted) return {core::judge(branch.op, found), {}};
        if (const auto reason = store::barrier_reason(key, op)) {
            found.own_reason = *reason;
            return {core::judge(branch.op, found), *reason};
        }
        // It was there and is gone: housekeeping removed it in between. Begin anew.
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
    rows_vanish(branch);
}

bool may_run(const BarrierBranch& branch, const Passage& passage) {
    const core::Verdict verdict = passage.verdict;
    if (verdict == core::Verdict::run) return true;
    const std::string gid = in_quotes(branch.gid);
    if (branch.op == core::BarrierOp::msg) {
        if (verdict == core::Verdict::hanging) {
            throw pg::SqlError(
                "TDF00", "message " + gid + " was given up before its local transaction committed",
                {}, "Roll back: dtm was told that this transaction does not exist.");
        }
        throw pg::SqlError(
            "TD002", "the local transaction of message " + gid + " has passed the barrier already",
            {}, "Roll back: it must not take effect twice.");
    }
    if (verdict == core::Verdict::hanging && hub::settings.strict_barrier) {
        const std::string op(core::to_string(branch.op));
        throw pg::SqlError(
            "TDF00",
            "branch " + branch.branch_id + " of " + gid + " was undone before its " + op +
                " arrived",
            "The barrier row of op " + op + " was written by " + passage.written_by + ".",
            "Answer FAILURE (HTTP 409): this call must never take effect.");
    }
    return false;
}

bool message_committed(const std::string& gid) {
    constexpr std::string_view msg = "msg";
    BarrierBranch branch;
    branch.type = core::TransType::msg;
    branch.op = core::BarrierOp::msg;
    branch.gid = gid;
    branch.branch_id = "00";
    const store::BarrierTable table;
    fit(table, "gid", branch.gid);
    const store::BarrierKey key = key_of(branch, "01");
    const store::AsBarrierOwner as_owner(table);
    for (int attempt = 0; attempt < max_attempts; ++attempt) {
        if (store::insert_barrier(key, msg, "rollback")) return false;
        if (const auto reason = store::barrier_reason(key, msg)) return *reason == msg;
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
    rows_vanish(branch);
}

}  // namespace dtm::api
