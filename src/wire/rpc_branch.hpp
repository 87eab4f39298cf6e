// Branches that are called by JSON-RPC (dtm-compat.md 3.3, 4.3): which ones, with what body, and
// what their answers mean.
#pragma once

#include "core/types.hpp"
#include "wire/path.hpp"

#include <string>
#include <string_view>

namespace dtm::wire {

// Whether a branch with this URL is called by JSON-RPC. All our URLs are http or https ones.
bool calls_json_rpc(std::string_view protocol, std::string_view url);

// The params of a call are an object: the payload and what identifies the call. dtm fails for ever
// with any other payload (D4); its client should hear of it while it is there. Throws BadRequest.
void check_rpc_payload(const Path& path, std::string_view payload);

// What every call says about itself.
struct BranchIdentity {
    std::string_view gid, trans_type, branch_id, op;
};
// The body of the call. A payload that is no object counts as {} (D4).
std::string rpc_body(std::string_view url, const BranchIdentity& identity,
                     std::string_view payload);

// What an answer means that is a success by classify_http().
core::Outcome classify_rpc(std::string_view body);

}  // namespace dtm::wire
