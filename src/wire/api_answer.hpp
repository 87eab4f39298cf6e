// Writes what clients of dtm read: results and errors of 1.2, the objects of 1.6, JSON-RPC
// responses of Part 3. A success never contains the word FAILURE by itself (0.4, rule 1).
#pragma once

#include "core/types.hpp"
#include "wire/api_request.hpp"
#include "wire/text.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dtm::wire {

// How a call ended: dtm's three words, and the errors.
struct ApiOutcome {
    enum class Kind : std::uint8_t {
        success,
        failure,
        ongoing,
        error,
        bad_body,
        unavailable
    } kind = Kind::success;
    std::string message;  // all but success; a failure's ends with "FAILURE"
};
// 200, 409, 425, 500; bad_body: 400 (1.7a); unavailable, which dtm does not know: 503.
unsigned http_status(ApiOutcome::Kind);
// {"dtm_result":"SUCCESS"} and so on. The others have no dtm_result.
std::string outcome_json(const ApiOutcome&);

// What is said to a client whose request is refused: the message, what to do about it and where it
// is wrong. `error`, or `bad_body` for a BadBody.
ApiOutcome refusal(const BadRequest&);

// `result`: JSON text, "null" for nothing. Members sorted as dtm's: error, id, jsonrpc, result.
std::string rpc_result(std::string_view id, std::string_view result);
// code: -32901 for failure, -32603 for ongoing and error; the envelope's own codes as they are. The
// member result is {} (3.2).
std::string rpc_error(std::string_view id, int code, std::string_view message);
int rpc_code(ApiOutcome::Kind);

// Times are printed as RFC 3339 in UTC, "2026-01-02T03:04:05.678Z", unless the caller has another
// form.
using TimeText = std::string (*)(core::Time);
std::string rfc3339(core::Time);

// 1.6.1. `id` is required by clients and has no meaning here: a positive 31-bit hash of the gid.
// Unset members are left out.
struct TransactionAnswer {
    std::string_view gid, trans_type, status, owner;
    const core::Request* request = nullptr;  // null: unreadable; query_prepared, options … missing
    core::Time create_time{}, update_time{};
    std::optional<core::Time> finish_time, rollback_time, next_cron_time;
    std::optional<std::int64_t> next_cron_interval;
    std::string_view result, rollback_reason;
};
std::string transaction_json(const TransactionAnswer&, TimeText = rfc3339);

// 1.6.2. `id` counts from 1 within the transaction, bin_data are the bytes. Unset members are left
// out.
struct BranchAnswer {
    std::int64_t id = 1;
    core::Time create_time{}, update_time{};
    std::optional<core::Time> finish_time;
    std::string_view gid, url, bin_data, branch_id, op, status;
};
std::string branch_json(const BranchAnswer&, TimeText = rfc3339);

// 1.6.3.
struct KvAnswer {
    core::Time create_time{}, update_time{};
    std::string_view cat, k, v;
    std::int64_t version = 1;
};
std::string kv_json(const KvAnswer&);

// "[a,b]" of finished JSON texts.
std::string json_list(std::span<const std::string>);
// An object of finished JSON texts, in the given order.
std::string json_object(std::span<const std::pair<std::string_view, std::string>>);
std::string json_string(std::string_view);

}  // namespace dtm::wire
