// What a coordinator finds in the table by itself, because nobody told it or what was told was
// lost: rows that are due, and changes to what it has in memory. It goes through the table in
// pieces, so that it holds up nobody, and comes to its end whatever the rows are like.
#pragma once

#include "store/due.hpp"
#include "worker/actives.hpp"

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace dtm::worker {

class Sweep {
public:
    Sweep(Actives& actives, int worker, int workers)
        : actives_(actives), worker_(worker), workers_(workers) {}

    // Looks at once.
    void hurry() { hurried_ = true; }
    // Rows may be due that would be passed over: all are looked at.
    void look_at_all() { all_ = true; }
    // The same, and rows in memory may have been changed.
    void hints_were_lost();
    // No place in memory; for the next turn.
    void put_back(std::string gid) { found_.push_back(std::move(gid)); }

    // Is a call of the next two worth a transaction?
    bool due(core::Time now, std::size_t room) const;
    core::Time next_look(core::Time now) const;
    // Due rows are known to wait: hints must not take all room.
    bool behind() const { return !found_.empty() || walk_ || all_ || no_room_; }
    // The next two within a transaction and a pg::Spi scope.
    void compare(core::Time now);
    // Gids of due rows that are not in memory, so many at most.
    std::vector<std::string> take(core::Time now, std::size_t max);

private:
    struct Walk {
        store::DuePlace at;
        core::Time until;
    };
    bool interval_over(core::Time now) const;
    bool all_due(core::Time now) const;
    bool compare_due(core::Time now) const;
    bool look_due(core::Time now) const;
    void look(core::Time now);
    void look_from_the_first(core::Time now);
    void go_on();

    Actives& actives_;
    int worker_;
    int workers_;
    std::deque<std::string> found_;
    std::optional<Walk> walk_;         // one that has not come to its end
    std::optional<core::Time> until_;  // everything due before it has been seen
    std::optional<core::Time> last_;
    std::optional<core::Time> last_of_all_;
    std::chrono::steady_clock::duration took_{};  // the last look from the first row on
    bool hurried_ = true;
    bool all_ = true;
    bool no_room_ = false;                // at the last look
    std::vector<std::string> unchecked_;  // to be compared
    std::optional<core::Time> compared_;
    bool compare_now_ = false;
};

}  // namespace dtm::worker
