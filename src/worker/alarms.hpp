// When transactions that have left memory are to be read again; one time for each of them.
#pragma once

#include "core/types.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dtm::worker {

class Alarms {
public:
    // Instead of the one that it has. Beyond the limit the sweep finds it.
    void set(const std::string& gid, core::Time at);
    void cancel(std::string_view gid);
    // Those that are over, the earliest first; the others of them stay for the next call.
    std::vector<std::string> take(core::Time now, std::size_t max);
    std::optional<core::Time> next() const;

private:
    using Queue = std::multimap<core::Time, std::string>;
    Queue queue_;
    std::unordered_map<std::string_view, Queue::iterator> by_gid_;  // keys point into queue_
};

}  // namespace dtm::worker
