// See alarms.hpp.
#include "worker/alarms.hpp"

#include <utility>

namespace dtm::worker {
namespace {

// Beyond this, waking up is left to the sweep: the queue stays small whatever waits in the table.
constexpr std::size_t max_alarms = 100000;

}  // namespace

void Alarms::set(const std::string& gid, core::Time at) {
    cancel(gid);
    if (queue_.size() >= max_alarms) return;
    const auto made = queue_.emplace(at, gid);
    by_gid_.emplace(made->second, made);
}

void Alarms::cancel(std::string_view gid) {
    const auto found = by_gid_.find(gid);
    if (found == by_gid_.end()) return;
    const Queue::iterator alarm = found->second;
    by_gid_.erase(found);
    queue_.erase(alarm);
}

std::vector<std::string> Alarms::take(core::Time now, std::size_t max) {
    std::vector<std::string> gids;
    while (gids.size() < max && !queue_.empty() && queue_.begin()->first <= now) {
        by_gid_.erase(queue_.begin()->second);
        gids.push_back(std::move(queue_.begin()->second));
        queue_.erase(queue_.begin());
    }
    return gids;
}

std::optional<core::Time> Alarms::next() const {
    if (queue_.empty()) return std::nullopt;
    return queue_.begin()->first;
}

}  // namespace dtm::worker
