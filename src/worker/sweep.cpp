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
constexpr std::size_t max_left_alone = 1000;

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
    if (damaged_rows_.goes_on()) {
        return is_over(last_of_all_, now, std::max<core::Micros>(pause, all_every));
    }
    const core::Micros most = std::min<core::Micros>(pause, all_at_least_every);
    const bool wanted = all_ && !walk_;  // else a walk would not come to its end
    return is_over(last_of_all_, now, wanted ? most : std::max<core::Micros>(most, all_every));
}

bool Sweep::compare_due(core::Time now) const {
    if (!unchecked_.empty() || compare_now_) return true;
    return actives_.size() > 0 && is_over(compared_, now, compare_every);
}

bool Sweep::look_due(core::Time now) const {
    return interval_over(now) || hurried_ || no_room_ || walk_ || by_places_ ||
           (all_ && all_due(now));
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
    find_changed(gids, versions);
    unchecked_.resize(unchecked_.size() - piece);
    if (!unchecked_.empty()) return;
    if (damaged_active_) {
        damaged_actives_.report(*damaged_active_);
    } else {
        damaged_actives_.over();
    }
    damaged_active_.reset();
}

// What cannot be read counts as unchanged: it cannot be written, either.
void Sweep::find_changed(std::span<const std::string_view> gids,
                         std::span<const std::int64_t> versions) {
    if (gids.empty()) return;
    std::vector<std::string> changed;
    if (const auto damage = damage_in([&] { changed = store::changed(gids, versions); })) {
        if (gids.size() == 1) {
            damaged_active_ = "Transaction " + std::string(gids[0]) + ": " + *damage;
            return;
        }
        const std::size_t half = gids.size() / 2;
        find_changed(gids.first(half), versions.first(half));
        find_changed(gids.subspan(half), versions.subspan(half));
    }
    for (const std::string& gid : changed) {
        if (Active* a = actives_.find(gid)) actives_.changed_by_others(*a);
    }
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
    Walk walk{{}, now, true};
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
        damaged_rows_.over();
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
    if (walk_->of_all) damaged_rows_.over();
    walk_.reset();
}

void Sweep::go_on_by_places(core::Time now) {
    by_places_ = places_.go_on(found_);
    if (by_places_) return;
    until_ = places_.until();
    took_ = places_.took();
    last_of_all_ = now;
}

void Sweep::look(core::Time now) {
    const bool at_all = all_due(now);
    last_ = now;
    hurried_ = no_room_ = false;
    if (by_places_) return go_on_by_places(now);
    const auto damage = damage_in([&] {
        if (at_all) return look_from_the_first(now);
        if (!walk_) walk_ = Walk{{until_.value_or(now) - look_back}, now};
        go_on();
    });
    if (!damage) return;
    damaged_rows_.report(*damage);
    walk_.reset();
    all_ = false;
    last_of_all_ = now;
    by_places_ = !damage_in([&] { places_.begin(now); });
}

void Sweep::leave_alone(const std::string& gid, std::chrono::seconds wait) {
    const auto now = std::chrono::steady_clock::now();
    if (left_alone_.size() >= max_left_alone) {
        std::erase_if(left_alone_, [now](const auto& one) { return one.second <= now; });
    }
    if (left_alone_.size() < max_left_alone) left_alone_[gid] = now + wait;
}

bool Sweep::is_left_alone(const std::string& gid) {
    const auto found = left_alone_.find(gid);
    if (found == left_alone_.end()) return false;
    if (found->second > std::chrono::steady_clock::now()) return true;
    left_alone_.erase(found);
    return false;
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
        std::string& gid = found_.front();
        if (actives_.find(gid) == nullptr && !is_left_alone(gid)) gids.push_back(std::move(gid));
        found_.pop_front();
    }
    hub::count(hub::Counter::taken_by_sweep, gids.size());
    return gids;
}

}  // namespace dtm::worker
