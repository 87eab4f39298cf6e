// What a coordinator does when it has nothing better to do: removes finished transactions, old
// events and old barrier rows, in small transactions of their own, so that it is never in the way
// of anybody. One coordinator of a database does it, that of slice 0.
#pragma once

#include "core/types.hpp"
#include "pg/call.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dtm::worker {

class Housekeeping {
public:
    // When it wants to be called next.
    core::Time due(core::Time now) const;
    // Settings were read again.
    void look_now();
    // One batch. Trouble of its own is logged once and stops nobody (P14).
    void turn(core::Time now);

private:
    enum class More : std::uint8_t { no, soon, at_leisure };
    struct Chore {
        const char* rows;  // what it removes, for messages
        More (Housekeeping::*batch)(core::Time now);
        bool ours = true;  // the table
        core::Time next{};
        bool complained = false;
    };

    void work(Chore& chore, core::Time now);
    void complain(Chore& chore, const std::string& why, const std::string& hint);
    More remove_finished(core::Time now);
    More remove_events(core::Time now);
    More remove_barriers(core::Time now);
    void remove_one_by_one(Chore& chore);

    std::array<Chore, 3> chores_{
        Chore{"finished transactions", &Housekeeping::remove_finished},
        Chore{"old events", &Housekeeping::remove_events},
        Chore{"old rows of dtm_barrier.barrier", &Housekeeping::remove_barriers, false}};
    std::vector<std::string> batch_;  // finished transactions that are being removed
    std::vector<std::string> kept_;   // those that cannot be removed
    // Where the last batch of the walk over finished transactions began.
    std::optional<core::Time> finished_from_;
    std::optional<core::Time> finished_walk_started_;
    std::int64_t last_id_ = 0;  // of the walk over the barrier's table
    std::optional<core::Time> walk_started_;
    std::string database_;  // its name, for messages
};

}  // namespace dtm::worker
