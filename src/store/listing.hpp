// Lists for people: transactions newest first, page by page, and the key-value table (dtm-compat.md
// 1.5.11, 1.5.17, 1.5.18); and resetCronTime, which acts on a list (1.5.12). A page costs what it
// shows, not what the table holds. Runs within a pg::Spi scope, as the tables' owner.
#pragma once

#include "store/lookup.hpp"
#include "store/trans.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

// Where a page ended, as text for a URL. Empty: at the beginning, or nothing follows.
struct Position {
    core::Time time{};
    std::string name;
};
std::string position_text(const Position&);
// None: no text that position_text() made.
std::optional<Position> parse_position(std::string_view text);

struct TransFilter {
    std::optional<std::string> status;      // any word: of one that is unknown there are none
    std::optional<std::string> trans_type;  // likewise
    std::optional<core::Time> from;         // create_time, inclusive
    std::optional<core::Time> until;        // likewise
};
struct TransPage {
    std::vector<Stored> rows;  // newest first
    // Where the next page begins; none: there is none. A page of a filter that few rows pass may
    // have less than `limit` rows, even none, and yet a next one: looking for them has an end.
    std::optional<Position> next;
};
// What `viewer` may see (store/lookup.hpp).
TransPage list_transactions(const TransFilter&, const std::optional<Position>& after, int limit,
                            Oid viewer);

struct KvRow {
    std::string cat, k, v;
    std::int64_t version = 1;
    core::Time create_time{}, update_time{};
};
struct KvPage {
    std::vector<KvRow> rows;  // newest first
    std::optional<Position> next;
};
KvPage list_kv(std::string_view cat, const std::optional<Position>& after, int limit);
// None: any. In the order of their keys.
std::vector<KvRow> find_kv(const std::optional<std::string>& cat,
                           const std::optional<std::string>& key);

// Makes unfinished transactions that wait for longer than `timeout` due now, with all their waits
// cleared, those of which `role` is an owner; at most so many. Left as they are: what waits for
// something else than a retry (a delay, its client), and rows that somebody holds.
struct Reset {
    std::vector<std::string> gids;  // their coordinator must look at them
    bool has_remaining = false;     // there are more (D30)
};
Reset reset_waiting(core::Seconds timeout, int limit, Oid role, core::Time now,
                    const core::Policy&);
// The same with all that wait and that `viewer` may see, a thousand at a time; returns how many it
// made due. `gids` gets the first `most_gids` of them: their coordinator need not search.
std::size_t reset_all(Oid viewer, core::Time now, const core::Policy&, std::size_t most_gids,
                      std::vector<std::string>& gids);
// Of what `viewer` may see and is due already: the gids of those of which an operation waits for a
// retry, beside calls in flight; so many at most. Nothing is written, their coordinator must hurry
// them.
std::vector<std::string> waiting_beside(Oid viewer, core::Time now, const core::Policy&,
                                        std::size_t most);

}  // namespace dtm::store
