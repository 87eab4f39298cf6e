// See places.hpp.
#include "worker/places.hpp"

#include "store/due.hpp"
#include "worker/damage.hpp"

#include <algorithm>
#include <vector>

namespace dtm::worker {
namespace {

constexpr std::chrono::milliseconds moment{20};
constexpr std::uint64_t most_pages = 32;

}  // namespace

void Places::begin(core::Time until) {
    until_ = until;
    at_ = 0;
    end_ = store::places_of_table();
    pages_ = 1;
    took_ = {};
}

bool Places::go_on(Found& found) {
    const auto begin = std::chrono::steady_clock::now();
    std::chrono::steady_clock::duration spent{};
    while (at_ < end_ && spent < moment) {
        const std::uint64_t count = std::min(end_ - at_, pages_ * store::places_of_page());
        if (read(count, found)) {
            at_ += count;
            pages_ = std::min(2 * pages_, most_pages);
        } else if (pages_ > 1) {
            pages_ /= 2;
        } else {
            read_one_by_one(found);
        }
        spent = std::chrono::steady_clock::now() - begin;
    }
    took_ += spent;
    return at_ < end_;
}

bool Places::read(std::uint64_t count, Found& found) {
    std::vector<std::string> gids;
    const auto damage =
        damage_in([&] { gids = store::due_at(at_, count, until_, worker_, workers_); });
    for (std::string& gid : gids) found.push_back(std::move(gid));
    return !damage;
}

// The page at `at_`. At its last place is hardly ever a row: where that cannot be read, nothing of
// the page can.
void Places::read_one_by_one(Found& found) {
    const std::uint64_t end = at_ + store::places_of_page();
    at_ = end - 1;
    if (read(1, found)) {
        for (at_ = end - store::places_of_page(); at_ < end - 1; ++at_) (void)read(1, found);
    }
    at_ = end;
}

}  // namespace dtm::worker
