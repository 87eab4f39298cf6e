// The rows of dtm.trans: how dtm_submit() inserts one, and how a coordinator loads, settles and
// removes them. Nothing here decides anything. A settle is guarded by the version that was read:
// whoever wrote in between wins, and the loser is told. Functions run within a pg::Spi scope and
// may throw pg::PgError. What commands of clients write is in command_writes.hpp, what operators do
// in verbs.hpp.
#pragma once

#include "core/types.hpp"
#include "pg/spi.hpp"
#include "wire/api_request.hpp"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

struct NewTrans {
    std::string_view gid;
    core::TransType type = core::TransType::saga;
    core::Status status = core::Status::submitted;
    Oid owner = InvalidOid;
    std::string_view request;  // wire::encode_request
    std::optional<core::Time> due;
    int interval_s = 0;
};
// False when the gid exists already; nothing is changed then.
bool insert(const NewTrans&);

struct Row {
    std::string gid;
    core::TransType type = core::TransType::saga;
    core::Status status = core::Status::submitted;
    Oid owner = InvalidOid;
    std::string request;
    std::optional<std::string> progress;  // none: fresh
    std::int64_t version = 0;
    std::string rollback_reason;
    core::Time create_time{};
    std::optional<core::Time> next_cron_time;
    TransactionId xmin = InvalidTransactionId;
    std::optional<std::string> attention;
    std::optional<std::string> unreadable;  // type or status are of another version: why
    // tcc, xa: its branches, in the order of registration.
    std::vector<wire::Registration> registered;
};
// Reads them one after the other: no more than one row, of those with registered branches a few,
// is in memory at a time, however large they are. Asks `wanted` before it reads one. Unknown gids
// are left out.
void load(std::span<const std::string> gids,
          const std::function<bool(std::string_view gid)>& wanted,
          const std::function<void(const Row&)>& take);
std::optional<Row> load_one(std::string_view gid);
// The same, locked until the end of the transaction against all writers.
std::vector<Row> load_locked(std::span<const std::string_view> gids);
// Locks, until the end of the transaction, what can be locked at once; returns the indices of those
// that somebody else holds.
std::vector<std::size_t> held_by_others(std::span<const std::string_view> gids);
// The rows that are due after `after`, earliest first and locked; those that somebody holds are
// left out.
std::vector<Row> load_waiting(core::Time after, std::string_view after_gid, long limit);
// The rows with progress that are due by `now`, after `after`, earliest first: of many of them a
// call is in flight.
std::vector<Row> load_in_hand(const std::optional<core::Time>& after, std::string_view after_gid,
                              core::Time now, long limit);
// The request of a row, with its registered branches. Throws std::runtime_error when the text
// cannot be read.
core::Request request_of(const Row&);
// What the row says has happened, to somebody who does not know whether an earlier life of a
// coordinator worked on it. Throws as request_of().
core::State state_of(const Row&, const core::Request&);

// What a settle writes.
struct Settlement {
    std::string_view gid;
    std::int64_t version = 0;  // the version that was read; the row's becomes version + 1
    core::Status status = core::Status::submitted;
    // None of the following is written for a clean success: all branches succeeded at once.
    bool clean_success = false;
    std::optional<std::string> progress;  // none: the row says nothing, see core::State::outdated
    std::int32_t attempts = 0;
    std::int32_t interval_s = 0;
    std::optional<core::Time> due;
    std::optional<std::string> last_error;
    std::optional<std::string> rollback_reason;  // none: kept
};
// Writes all rows whose version still matches, with at most two statements; returns the indices of
// those that did not match. skip_locked: rows locked by somebody else are left out and returned in
// `locked` instead of being waited for.
struct SettleResult {
    std::vector<std::size_t> conflicts;
    std::vector<std::size_t> locked;
};
SettleResult settle(std::span<const Settlement>, core::Time now, bool skip_locked);

// Puts a row aside that is trouble: it is not due any more and dtm.attention lists it with the
// reason. Version 0: the version could not be read, any will do.
void put_aside(std::string_view gid, std::int64_t version, std::string_view why);

// Finished transactions that ended at `from` (none: whenever) or later and before `older_than`, the
// oldest first, locked; none of `but`. Nothing where the SQL is that of a version without the index
// for it.
struct Finished {
    std::vector<std::string> gids;
    std::optional<core::Time> first_end;
};
Finished finished_before(const std::optional<core::Time>& from, core::Time older_than, int limit,
                         std::span<const std::string> but);
void remove(std::span<const std::string> gids);  // with their registered branches
// The record of operators' orders given before; returns how many events went.
std::int64_t purge_events(core::Time older_than, int limit);

}  // namespace dtm::store
