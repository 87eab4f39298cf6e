// The commands of clients on global transactions, many at a time: what the API server does in one
// turn of the coordinator and dtm_prepare(), dtm_abort() … do one by one (design 12). Rules by
// core::rule(), writes with guarded statements, one per kind of change and not one per command.
#pragma once

#include "core/command.hpp"
#include "store/registered.hpp"
#include "wire/api_request.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dtm::store {

struct TransCommand {
    core::Command what = core::Command::submit;
    // As read by wire::parse_trans(); force_stop, hurry: gid alone; register_branch: unused. A saga
    // or msg without branches submits what is prepared and creates nothing.
    std::shared_ptr<const core::Request> request;
    wire::Registration registration;           // register_branch
    std::string reason;                        // abort, finish: rollback_reason
    std::string result;                        // finish
    core::Status end = core::Status::succeed;  // finish
    // prepare, submit: a request that differs from the stored one is refused. Otherwise the stored
    // steps count, and a submit of what is submitted is a wish to hurry.
    bool strict = false;
    bool any_type = false;  // abort: of what type it is, the row knows
    std::string_view gid() const {
        return what == core::Command::register_branch ? std::string_view(registration.gid)
                                                      : std::string_view(request->gid);
    }
    core::TransType type() const {
        return what == core::Command::register_branch ? registration.type : request->type;
    }
};

TransCommand command_of(wire::TransCall&& call);

// Why a command was refused, for who does not speak dtm's words.
enum class Refusal : std::uint8_t {
    none,
    unknown,        // no such gid
    foreign,        // it is another role's
    status,         // its status does not allow that
    other_type,     // it is of another type
    other_request,  // strict: the stored request is another one
    finished,       // strict: the same request has been carried out
    no_steps,       // nothing is stored, and nothing to store is given
    other_branch,   // that branch is registered already, with other values
    paused,         // an operator paused it
    unreadable,     // another version wrote it
    too_many,       // it has as many branches, or bytes in them, as it may
    old_sql,        // the SQL in this database cannot store it
};

struct CommandResult {
    // busy: somebody holds the row's lock; nothing was done, try again.
    enum class What : std::uint8_t { done, failure, error, busy } what = What::error;
    std::string message;  // failure, error: for the client
    Refusal refusal = Refusal::none;
    std::optional<core::Found> found;  // refused: what the row said
    // The row after a command that was done (not for register_branch). changed: created, written or
    // hurried, and nobody put it aside: its coordinator must look at it. Of register_branch: the
    // branch is new.
    bool changed = false;
    // hurry: nothing was written, because a call is in flight. What waits beside it its coordinator
    // must hurry.
    bool waits_beside = false;
    core::Status status = core::Status::prepared;
    std::int64_t version = 0;
    core::Time create_time{};
    std::string rollback_reason;
    // In effect after `changed`: options of a submit are merged into what prepare stored (D32). Has
    // its registered branches where the status is submitted or aborting, so that it can be driven
    // at once. Null: the row has to be read (a final status, hurry, not `changed`).
    std::shared_ptr<const core::Request> request;
    bool silent = false;  // the row has no progress text
    // Of what is not final and has no `request`: what the row says, for whoever waits for it.
    std::shared_ptr<const core::Request> stored;
    // Not final, and nothing of it is going to be called: why, for people; empty: its own delay.
    std::optional<std::string> rests;
};

// Within a pg::Spi scope, as the tables' owner. No two commands may name the same gid. `role`:
// whose new transactions are; commands on others' transactions are refused unless `role` is a
// member of their owner ("gid G is in use by another role", failure). `skip_locked`: rows that
// somebody holds are not waited for but reported busy. One result per command, in their order.
std::vector<CommandResult> execute(std::span<const TransCommand* const> commands, Oid role,
                                   core::Time now, const core::Policy& policy, bool skip_locked);

}  // namespace dtm::store
