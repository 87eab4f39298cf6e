// What an operator does to a row. Each write raises the row's version, so whatever a coordinator
// has in flight for it loses (design 5.4). Runs within a store::AsOwner, in the operator's
// transaction.
#pragma once

#include "pg/spi.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace dtm::store {

// A locked row, or none: what a verb needs to know before it writes.
struct Locked {
    std::string trans_type;
    std::string status;
    std::string request;
    std::optional<std::string> progress;
    std::int64_t version = 0;
    pg::UnixTime create_time{};
    std::optional<pg::UnixTime> next_cron_time;
    std::optional<std::string> attention;  // it is put aside
};
// Waits for whoever writes the row. `viewer` as in store/lookup.hpp.
std::optional<Locked> lock_for_verb(std::string_view gid, Oid viewer);

// Due at that time and no longer put aside. progress: none leaves the stored one.
void make_due(std::string_view gid, const std::optional<std::string>& progress, pg::UnixTime due,
              pg::UnixTime now);

// New progress; due at that time unless it is put aside.
void write_progress(std::string_view gid, const std::string& progress, pg::UnixTime due,
                    pg::UnixTime now);

// Not due any more, with this as attention.
void set_aside(std::string_view gid, const std::string& attention, pg::UnixTime now);

// Ends the row as `status`; nothing is due any more. A reason that is there already is kept.
void stop(std::string_view gid, std::string_view status, const std::string& reason,
          pg::UnixTime now);

}  // namespace dtm::store
