// What a coordinator does when it has nothing better to do: removes finished transactions and old
// barrier rows, in small transactions of their own, so that it is never in the way of anybody. One
// coordinator of a database does it, that of slice 0.
#pragma once

#include "core/types.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace dtm::worker {

class Housekeeping {
public:
    // When it wants to be called next.
    core::Time due() const { return next_; }
    // Settings were read again.
    void look_now() {
        next_ = {};
        walk_started_.reset();
    }
    // One batch. Trouble of its own is logged once and stops nobody (P14).
    void turn(core::Time now);

private:
    bool purge(core::Time now);
    bool purge_finished(core::Time now);
    void complain(const char* why, const char* hint);

    core::Time next_{};
    std::int64_t last_id_ = 0;
    std::optional<core::Time> walk_started_;
    bool complained_ = false;
    std::string database_;  // its name, for messages
};

}  // namespace dtm::worker
