// What an operator, and a client's forceStop, does to a row that is locked. Each write raises the
// row's version, so whatever a coordinator has in flight for it loses (design 5.4). Runs within a
// store::AsOwner.
#pragma once

#include "store/trans.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace dtm::store {

// A locked row, with the words of its type and status: another version may know others.
struct Locked : Row {
    std::string type_word;
    std::string status_word;
};
// Waits for whoever writes the row. None: it does not exist for `viewer` (store/lookup.hpp).
std::optional<Locked> lock_for_verb(std::string_view gid, Oid viewer);

// Due at that time (none: never by itself) and no longer put aside. progress: none leaves the
// stored one.
void make_due(std::string_view gid, const std::optional<std::string>& progress,
              std::optional<pg::UnixTime> due, pg::UnixTime now);

// New progress; due at that time unless it is put aside.
void write_progress(std::string_view gid, const std::string& progress,
                    std::optional<pg::UnixTime> due, pg::UnixTime now);

// Not due any more, with this as attention.
void set_aside(std::string_view gid, const std::string& attention, pg::UnixTime now);

// Ends the row as `status`; nothing is due any more. A reason that is there already is kept.
void stop(std::string_view gid, std::string_view status, const std::string& reason,
          pg::UnixTime now);

}  // namespace dtm::store
