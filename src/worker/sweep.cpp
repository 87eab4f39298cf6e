// See sweep.hpp. A walk goes on behind the last row that it saw, so rows that stay as they are (a
// damaged one, say) hide nobody. Rows that become due behind it meanwhile wait for the next walk or
// for a look at the first rows, which is taken now and then during a walk.
#include "worker/sweep.hpp"

#include "hub/settings.hpp"
#include "hub/shared.hpp"

#include <algorithm>
#include <utility>

namespace dtm::worker {
namespace {

constexpr std::size_t max_found = 1000;  // bounds a look
constexpr std::size_t max_compared = 1000;
// A row is due from the clock of its INSERT but visible from its COMMIT. Walks that do not begin at
// the first row look back this far; rows of longer transactions that nobody told of wait for one of
// all.
constexpr core::Seconds look_back{10};
// A walk over all passes all dead entries of the index that a held snapshot keeps: the longer that
// takes, the rarer it is.
constexpr core::Seconds all_every{5};
constexpr core::Seconds all_at_least_every{60};
constexpr int times_longer = 20;
constexpr core::Seconds compare_every{5};

bool is_over(const std::optional<core::Time>& last, core::Time now, core::Micros wait) {
    return !last || now < *last || now - *last >= wait;
}

}  // namespace

void Sweep::hints_were_lost() {
    compare_now_ = true;
    all_ = true;
    hurried_ = true;
}

bool Sweep::interval_over(core::Time now) const {
    return is_over(last_, now, std::chrono::milliseconds{hub::settings.sweep_interval_ms});
}

bool Sweep::all_due(core::Time now) const {
    const auto pause = std::chrono::duration_cast<core::Micros>(took_ * times_longer);
    const core::Micros most = std::min<core::Micros>(pause, all_at_least_every);
    const bool wanted = all_ && !walk_;  // else a walk would not come to its end
    return is_over(last_of_all_, now, wanted ? most : std::max<core::Micros>(most, all_every));
}

bool Sweep::compare_due(core::Time now) const {
    if (!unchecked_.empty() || compare_now_) return true;
    return actives_.size() > 0 && is_over(compared_, now, compare_every);
}

bool Sweep::look_due(core::Time now) const {
    return interval_over(now) || hurried_ || no_room_ || walk_ || (all_ && all_due(now));
}

bool Sweep::due(core::Time now, std::size_t room) const {
    if (compare_due(now) || interval_over(now)) return true;
    return room > 0 && (!found_.empty() || look_due(now));
}

core::Time Sweep::next_look(core::Time now) const {
    return last_.value_or(now) + std::chrono::milliseconds{hub::settings.sweep_interval_ms};
}

void Sweep::compare(core::Time now) {
    if (!compare_due(now)) return;
    if (unchecked_.empty()) {
        unchecked_ = actives_.gids();
        compared_ = now;
        compare_now_ = false;
    }
    const std::size_t piece = std::min(unchecked_.size(), max_compared);
    std::vector<std::string_view> gids;
    std::vector<std::int64_t> versions;
    for (auto gid = unchecked_.end() - static_cast<std::ptrdiff_t>(piece); gid != unchecked_.end();
         ++gid) {
        const Active* a = actives_.find(*gid);
        if (a == nullptr || a->reload) continue;
        gids.push_back(*gid);
        versions.push_back(a->version);
    }
    if (!gids.empty()) {
        for (const std::string& gid : store::changed(gids, versions)) {
            if (Active* a = actives_.find(gid)) actives_.changed_by_others(*a);
        }
    }
    unchecked_.resize(unchecked_.size() - piece);
}

// Those in memory may be the first of all that are due: it looks past them.
void Sweep::look_from_the_first(core::Time now) {
    const auto begin = std::chrono::steady_clock::now();
    last_of_all_ = now;
    const bool apart = walk_.has_value();  // the walk goes on where it is
    const std::size_t limit = actives_.size() + max_found;
    const auto rows = store::due({}, now, worker_, workers_, static_cast<long>(limit));
    took_ = std::chrono::steady_clock::now() - begin;
    bool cut = rows.size() == limit;
    Walk walk{{}, now};
    for (const store::Due& row : rows) {
        if (found_.size() >= max_found) {
            cut = true;
            break;
        }
        if (actives_.find(row.gid) == nullptr) found_.push_back(row.gid);
        walk.at = row.place;
    }
    if (apart) return;
    all_ = false;
    if (cut) {
        walk_ = walk;
    } else {
        until_ = now;
    }
}

void Sweep::go_on() {
    constexpr std::size_t limit = 2 * max_found;
    const auto rows =
        store::due(walk_->at, walk_->until, worker_, workers_, static_cast<long>(limit));
    for (const store::Due& row : rows) {
        if (found_.size() >= max_found) return;
        if (actives_.find(row.gid) == nullptr) found_.push_back(row.gid);
        walk_->at = row.place;
    }
    if (rows.size() == limit) return;
    until_ = walk_->until;
    walk_.reset();
}

void Sweep::look(core::Time now) {
    const bool at_all = all_due(now);
    last_ = now;
    hurried_ = no_room_ = false;
    if (at_all) return look_from_the_first(now);
    if (!walk_) walk_ = Walk{{until_.value_or(now) - look_back}, now};
    go_on();
}

std::vector<std::string> Sweep::take(core::Time now, std::size_t max) {
    std::vector<std::string> gids;
    if (max == 0) {
        no_room_ = no_room_ || interval_over(now);
        if (no_room_) last_ = now;
        return gids;
    }
    if (found_.empty() && look_due(now)) look(now);
    while (gids.size() < max && !found_.empty()) {
        if (actives_.find(found_.front()) == nullptr) gids.push_back(std::move(found_.front()));
        found_.pop_front();
    }
    hub::count(hub::Counter::taken_by_sweep, gids.size());
    return gids;
}

}  // namespace dtm::worker
