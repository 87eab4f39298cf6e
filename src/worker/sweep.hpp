// What a coordinator finds in the table by itself, because nobody told it or what was told was
// lost: rows that are due, and changes to what it has in memory. It goes through the table in
// pieces, so that it holds up nobody, and comes to its end whatever the rows are like.
#pragma once

#include "store/due.hpp"
#include "worker/actives.hpp"
#include "worker/damage.hpp"
#include "worker/places.hpp"

#include <chrono>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace dtm::worker {

class Sweep {
public:
    Sweep(Actives& actives, int worker, int workers)
        : actives_(actives), worker_(worker), workers_(workers), places_(worker, workers) {}

    // Looks at once.
    void hurry() { hurried_ = true; }
    // Rows may be due that would be passed over: all are looked at.
    void look_at_all() { all_ = true; }
    // The same, and rows in memory may have been changed.
    void hints_were_lost();
    // No place in memory; for the next turn.
    void put_back(std::string gid) { found_.push_back(std::move(gid)); }
    // Its row can be neither read nor marked: it is not found before.
    void leave_alone(const std::string& gid, std::chrono::seconds wait);

    // Is a call of the next two worth a transaction?
    bool due(core::Time now, std::size_t room) const;
    core::Time next_look(core::Time now) const;
    // Due rows are known to wait: hints must not take all room.
    bool behind() const { return !found_.empty() || walk_ || by_places_ || all_ || no_room_; }
    // The next two within a transaction and a pg::Spi scope. What is damaged is passed over, and
    // the log says so.
    void compare(core::Time now);
    // Gids of due rows that are not in memory, so many at most.
    std::vector<std::string> take(core::Time now, std::size_t max);

private:
    struct Walk {
        store::DuePlace at;
        core::Time until;
        bool of_all = false;
    };
    bool interval_over(core::Time now) const;
    bool all_due(core::Time now) const;
    bool compare_due(core::Time now) const;
    bool look_due(core::Time now) const;
    void find_changed(std::span<const std::string_view> gids,
                      std::span<const std::int64_t> versions);
    void look(core::Time now);
    void look_from_the_first(core::Time now);
    void go_on();
    void go_on_by_places(core::Time now);
    bool is_left_alone(const std::string& gid);

    Actives& actives_;
    int worker_;
    int workers_;
    std::deque<std::string> found_;
    std::optional<Walk> walk_;         // one that has not come to its end
    std::optional<core::Time> until_;  // everything due before it has been seen
    std::optional<core::Time> last_;
    std::optional<core::Time> last_of_all_;
    std::chrono::steady_clock::duration took_{};  // the last look from the first row on
    Places places_;
    bool by_places_ = false;  // a look met damage: places_ has not come to its end
    Complaint damaged_rows_{
        "dtm coordinator cannot read all rows of dtm.trans and passes over those",
        "Other transactions go on. Find out what is wrong with the server's disk, and restore what "
        "is damaged.",
        "dtm coordinator can read all rows of dtm.trans again"};
    Complaint damaged_actives_{
        "dtm coordinator cannot read the rows of all transactions that it works on",
        "Other transactions go on. Find out what is wrong with the server's disk, and restore what "
        "is damaged.",
        "dtm coordinator can read the rows of all transactions that it works on again"};
    std::optional<std::string> damaged_active_;  // what one of those to be compared says
    std::unordered_map<std::string, std::chrono::steady_clock::time_point> left_alone_;
    bool hurried_ = true;
    bool all_ = true;
    bool no_room_ = false;                // at the last look
    std::vector<std::string> unchecked_;  // to be compared
    std::optional<core::Time> compared_;
    bool compare_now_ = false;
};

}  // namespace dtm::worker
