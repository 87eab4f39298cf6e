// Builds the HTTP call of a branch operation, exactly as dtm does (dtm-compat.md 4.2, 4.5), and
// says what an answer means (4.6). Pure text work.
#pragma once

#include "core/types.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dtm::wire {

struct BranchCall {
    bool post = false;  // GET when the body is empty
    std::string url;    // with branch_id, gid, op, trans_type appended to its query string
    // Points into *keep; the payload's bytes travel untouched and uncopied from row to socket.
    std::string_view body;
    std::shared_ptr<const void> keep;
    // "Name: value"; shared by all calls without headers of their own.
    std::shared_ptr<const std::vector<std::string>> headers;
    core::Seconds timeout{3};
};

// `request` must outlive nothing: the call keeps it alive.
BranchCall branch_call(const std::shared_ptr<const core::Request>& request, std::uint32_t branch,
                       core::Op op, const core::Policy& policy);

// What an operation is called on the wire: action, compensate, confirm, cancel, commit, rollback;
// of a query "msg" or the workflow's name (dtm-compat.md 4.5).
std::string_view op_name(const core::Request&, core::Op);

// The URL that is called for an operation, "" when the operation succeeds without a call.
std::string_view branch_url(const core::Request&, std::uint32_t branch, core::Op);

// dtm-compat.md 4.6.1, in its order: 425 or "ONGOING" in the body; 409 or "FAILURE"; status != 200;
// success. The reason text follows the table there.
core::Outcome classify_http(long status, std::string_view body);
// The answer of a call that branch_call() made: classify_http, and for JSON-RPC the member `error`
// after it (3.3, 4.3).
core::Outcome classify(const core::Request&, std::uint32_t branch, core::Op, long status,
                       std::string_view body);

// POST body of the alert webhook (dtm-compat.md 5.12).
std::string alert_body(std::string_view gid, core::Status status, std::string_view branch_url,
                       std::string_view error, std::uint32_t retry_count);

}  // namespace dtm::wire
