// The commands of clients on global transactions, many at a time: what the API server does in one
// turn of the coordinator and dtm_prepare(), dtm_abort() … do one by one (design 12). Rules by
// core::rule(), writes with guarded statements, one per kind of change and not one per command.
#pragma once

#include "core/command.hpp"
#include "pg/spi.hpp"
#include "wire/api_request.hpp"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dtm::store {

struct TransCommand {
    core::Command what = core::Command::submit;
    // As read by wire::parse_trans(); force_stop, hurry: gid alone; register_branch: unused.
    std::shared_ptr<const core::Request> request;
    wire::Registration registration;  // register_branch
    std::string reason;               // abort, finish: rollback_reason
    std::string result;               // finish
    core::Status end = core::Status::succeed;  // finish
    std::string_view gid() const {
        return what == core::Command::register_branch ? std::string_view(registration.gid)
                                                      : std::string_view(request->gid);
    }
};

struct CommandResult {
    // busy: somebody holds the row's lock; nothing was done, try again.
    enum class What : std::uint8_t { done, failure, error, busy } what = What::error;
    std::string message;  // failure, error: for the client
    // The row after a command that was done (not for register_branch).
    bool changed = false;  // created, or written: its coordinator must look at it
    core::Status status = core::Status::prepared;
    std::int64_t version = 0;
    core::Time create_time{};
    std::string rollback_reason;
    // In effect after `changed`: options of a submit are merged into what prepare stored (D32). Has
    // its registered branches where the status is submitted or aborting, so that it can be driven at
    // once.
    std::shared_ptr<const core::Request> request;
    bool silent = false;  // the row has no progress text
};

// Within a pg::Spi scope. No two commands may name the same gid. `role`: whose new transactions are;
// commands on others' transactions are refused unless `role` is a member of their owner ("gid G is in
// use by another role", failure). `skip_locked`: rows that somebody holds are not waited for but
// reported busy.
std::vector<CommandResult> execute(std::span<const TransCommand> commands, Oid role,
                                   core::Time now, const core::Policy& policy, bool skip_locked);

// The registered branches of a transaction, in the order of their registration.
struct RegisteredRow {
    wire::Registration registration;
    core::Time create_time{};
};
std::vector<RegisteredRow> registered(std::string_view gid);

}  // namespace dtm::store
