// Finds due rows although a page or a row of the table is damaged: by the places where rows stand,
// not by the index, which would lead to the damage again and again. What cannot be read is passed
// over.
#pragma once

#include "core/types.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>

namespace dtm::worker {

class Places {
public:
    Places(int worker, int workers) : worker_(worker), workers_(workers) {}

    // The following within a transaction and a pg::Spi scope.
    // Begins a walk: rows due at `until` or before.
    void begin(core::Time until);
    // Goes on for a moment; appends gids to `found`. False: it has come to its end.
    bool go_on(std::deque<std::string>& found);

    core::Time until() const { return until_; }
    std::chrono::steady_clock::duration took() const { return took_; }

private:
    using Found = std::deque<std::string>;
    bool read(std::uint64_t count, Found& found);
    void read_one_by_one(Found& found);

    int worker_;
    int workers_;
    core::Time until_{};
    std::uint64_t at_ = 0;
    std::uint64_t end_ = 0;
    std::uint64_t pages_ = 1;  // to be read at once
    std::chrono::steady_clock::duration took_{};
};

}  // namespace dtm::worker
