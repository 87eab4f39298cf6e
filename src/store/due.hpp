// What a coordinator looks for by itself: rows that are due, and rows that others have changed.
// Functions run within a pg::Spi scope and may throw pg::PgError.
#pragma once

#include "core/types.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

// Where a walk over the due rows has come to. Rows of one time stand in the order of their places
// in the table; one that does not (it was written meanwhile) may be passed over.
struct DuePlace {
    std::optional<core::Time> due;  // none: before all of them
    std::uint64_t row = 0;          // of those that are due at the same time
};
struct Due {
    std::string gid;
    DuePlace place;
};
// Unfinished rows of this slice that are due at or before `until` and stand behind `after`.
std::vector<Due> due(const DuePlace& after, core::Time until, int worker, int workers, long limit);

// The same rows by the places in the table where they stand, not by the index: for a table that is
// damaged somewhere. Places count from 0; so many are those of a page.
std::uint64_t places_of_page();
std::uint64_t places_of_table();
std::vector<std::string> due_at(std::uint64_t first, std::uint64_t count, core::Time until,
                                int worker, int workers);

// Those of `gids` whose rows have another version, or are gone.
std::vector<std::string> changed(std::span<const std::string_view> gids,
                                 std::span<const std::int64_t> versions);

}  // namespace dtm::store
