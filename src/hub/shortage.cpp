// See shortage.hpp.
#include "hub/shortage.hpp"

#include <algorithm>
#include <cstring>

extern "C" {
#include "storage/shmem.h"
#include "storage/spin.h"
}

namespace dtm::hub {
namespace {

struct Board {
    slock_t lock;
    std::size_t count;
    Shortage all[max_shortages];
};

Board* board = nullptr;

}  // namespace

std::size_t shortages_size() { return sizeof(Board); }

void attach_shortages() {
    bool found = false;
    board = static_cast<Board*>(ShmemInitStruct("dtm_pg shortages", sizeof(Board), &found));
    if (found) return;
    std::memset(static_cast<void*>(board), 0, sizeof(Board));
    SpinLockInit(&board->lock);
}

void publish_shortages(const std::vector<Shortage>& all) {
    if (board == nullptr) return;
    SpinLockAcquire(&board->lock);
    board->count = std::min(all.size(), max_shortages);
    std::copy_n(all.begin(), board->count, board->all);
    SpinLockRelease(&board->lock);
}

std::vector<Shortage> shortages() {
    if (board == nullptr) return {};
    std::vector<Shortage> seen(max_shortages);
    SpinLockAcquire(&board->lock);
    const std::size_t count = board->count;
    std::copy_n(board->all, count, seen.begin());
    SpinLockRelease(&board->lock);
    seen.resize(count);
    return seen;
}

}  // namespace dtm::hub
