// See waiting_room.hpp.
#include "server/waiting_room.hpp"

#include <algorithm>
#include <utility>

namespace dtm::server {

void WaitingRoom::admit(const std::string& gid, Guest guest) {
    gid_of_[guest.http] = gid;
    by_gid_[gid].push_back(std::move(guest));
}

std::vector<Guest> WaitingRoom::leave(const RoundEnd& end) {
    std::vector<Guest> left;
    const auto found = by_gid_.find(end.gid);
    if (found == by_gid_.end()) return left;
    std::erase_if(found->second, [&](Guest& guest) {
        if (guest.version > end.version) return false;
        gid_of_.erase(guest.http);
        left.push_back(std::move(guest));
        return true;
    });
    if (found->second.empty()) by_gid_.erase(found);
    return left;
}

std::vector<Guest> WaitingRoom::leave(Time now) {
    std::vector<Guest> left;
    for (auto g = by_gid_.begin(); g != by_gid_.end();) {
        std::erase_if(g->second, [&](Guest& guest) {
            if (now < guest.until) return false;
            gid_of_.erase(guest.http);
            left.push_back(std::move(guest));
            return true;
        });
        g = g->second.empty() ? by_gid_.erase(g) : std::next(g);
    }
    return left;
}

std::vector<std::uint64_t> WaitingRoom::forget(std::span<const std::uint64_t> http) {
    std::vector<std::uint64_t> strangers;
    for (const std::uint64_t id : http) {
        const auto here = gid_of_.find(id);
        if (here == gid_of_.end()) {
            strangers.push_back(id);
            continue;
        }
        const auto found = by_gid_.find(here->second);
        std::erase_if(found->second, [id](const Guest& guest) { return guest.http == id; });
        if (found->second.empty()) by_gid_.erase(found);
        gid_of_.erase(here);
    }
    return strangers;
}

std::vector<std::string> WaitingRoom::gids() const {
    std::vector<std::string> gids;
    gids.reserve(by_gid_.size());
    for (const auto& [gid, guests] : by_gid_) gids.push_back(gid);
    return gids;
}

core::Seconds longest_wait(const core::Request& request, const core::Policy& policy,
                           const WaitLimits& limits) {
    const core::Seconds own = request.options.request_timeout;
    const core::Seconds of_a_call =
        std::clamp(own.count() > 0 ? own : policy.request_timeout, core::Seconds{0}, limits.most);
    // A saga's retry_limit follows at once, and it may be undone within the round in which it
    // failed.
    std::int64_t calls = 1;
    if (request.type == core::TransType::saga) {
        calls += 1;
        calls += request.options.retry_limit;
    }
    calls *= static_cast<std::int64_t>(request.branches.size());
    return std::min(limits.most, of_a_call * calls + limits.beyond_calls);
}

wire::ApiOutcome no_end_in_sight() {
    return {wire::ApiOutcome::Kind::ongoing,
            "the transaction goes on, but its calls take too long to wait for: ask for it later. "
            "ONGOING"};
}

}  // namespace dtm::server
