// The clients that wait for the end of a round (wait_result): which round each of them means, and
// until when. Pure. There are never more than open connections: whoever leaves is forgotten.
#pragma once

#include "core/command.hpp"
#include "server/round_end.hpp"
#include "server/routes.hpp"
#include "wire/api_answer.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace dtm::server {

// Of a request that waits: what its answer needs.
struct Guest {
    std::uint64_t http = 0;  // net::HttpRequest::id
    Route route = Route::submit;
    std::chrono::steady_clock::time_point received;
    std::optional<std::string> rpc_id;  // the request came by JSON-RPC
    core::Command what = core::Command::submit;
    std::int64_t version = 0;  // of the row, as its command left it
    std::chrono::steady_clock::time_point until;
};

class WaitingRoom {
public:
    using Time = std::chrono::steady_clock::time_point;

    void admit(const std::string& gid, Guest guest);
    // Those who waited for this round leave.
    std::vector<Guest> leave(const RoundEnd& end);
    // Those whose time is over leave.
    std::vector<Guest> leave(Time now);
    // Whose connection is gone; returns the ids of those who are not here.
    std::vector<std::uint64_t> forget(std::span<const std::uint64_t> http);

    bool is_awaited(const std::string& gid) const { return by_gid_.contains(gid); }
    std::vector<std::string> gids() const;
    std::size_t size() const { return gid_of_.size(); }

private:
    std::unordered_map<std::string, std::vector<Guest>> by_gid_;
    std::unordered_map<std::uint64_t, std::string> gid_of_;
};

// How long a round may take, and who waits for it: as long as its calls may take one after the
// other, and for what keeps them from leaving at once.
struct WaitLimits {
    core::Seconds beyond_calls{120};
    core::Seconds most{24 * 3600};
};
core::Seconds longest_wait(const core::Request&, const core::Policy&, const WaitLimits& = {});

// Nobody waits any longer, but the transaction goes on: what that is to a client of any type.
wire::ApiOutcome no_end_in_sight();

}  // namespace dtm::server
