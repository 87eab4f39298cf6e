// See command.hpp.
#include "api/command.hpp"

#include "api/difference.hpp"
#include "api/result.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "wire/json.hpp"

namespace dtm::api {

namespace {

using core::Command;
using store::Refusal;

constexpr const char* for_ever =
    "A gid names one transaction for ever. Leave gid out to have one made, or ask for this one "
    "with dtm_query(gid).";

std::string in_use(const store::TransCommand& c) {
    return "gid " + in_quotes(c.gid()) + " is in use";
}

bool brings_request(Command what) {
    return what == Command::prepare || what == Command::submit || what == Command::finish;
}

[[noreturn]] void other_request(const store::TransCommand& c) {
    const auto row = store::load_one(c.gid());
    throw pg::SqlError("TD002", in_use(c) + " by a different request",
                       row ? difference(*row, *c.request) : "", for_ever);
}

[[noreturn]] void not_in_this_state(const store::TransCommand& c, const core::Found& found) {
    const std::string type(core::to_string(found.type));
    const std::string detail =
        "It is a " + type + " with status " + std::string(core::to_string(found.status)) + ".";
    const std::string subject = "transaction " + in_quotes(c.gid());
    switch (c.what) {
        case Command::prepare:
            throw pg::SqlError("TD003", subject + " is not prepared any more", detail,
                               "What is submitted goes on by itself; dtm_query(gid) shows it.");
        case Command::finish:
            throw pg::SqlError("TD003", subject + " cannot be ended", detail,
                               "A workflow is ended once, while it is prepared.");
        case Command::register_branch:
            if (found.type != c.type()) {
                throw pg::SqlError(
                    "TD003", subject + " is not of type " + std::string(core::to_string(c.type())),
                    detail, "A branch is registered with the trans_type of its transaction.");
            }
            throw pg::SqlError(
                "TD003", subject + " takes no branches any more", detail,
                found.type == core::TransType::workflow
                    ? "Steps are recorded until the workflow has ended."
                    : "Branches are registered between prepare and submit. Undo what "
                      "this one has done already.");
        default:
            break;
    }
    const bool abortable = found.type == core::TransType::msg || core::is_two_phase(found.type);
    throw pg::SqlError("TD003", subject + " cannot be aborted", detail,
                       abortable
                           ? "Only what is prepared can be aborted; dtm_force_stop(gid) gives "
                             "up what is not finished."
                           : "Only msg, tcc and xa can be aborted.");
}

[[noreturn]] void refuse(const store::TransCommand& c, const store::CommandResult& result) {
    switch (result.refusal) {
        case Refusal::unknown:
            unknown_gid(c.gid());
        case Refusal::foreign:
            if (!brings_request(c.what)) unknown_gid(c.gid());
            throw pg::SqlError(
                "TD002", in_use(c), "It belongs to a transaction of another role.",
                "A gid names one transaction for ever. Leave gid out to have one made.");
        case Refusal::other_type:
            if (brings_request(c.what)) other_request(c);
            not_in_this_state(c, *result.found);
        case Refusal::other_request:
            other_request(c);
        case Refusal::finished:
            throw pg::SqlError("TD002", in_use(c) + " by a finished transaction",
                               "The request is the same. Its status is " +
                                   std::string(core::to_string(result.found->status)) +
                                   ", and that is final.",
                               for_ever);
        case Refusal::no_steps:
            throw pg::SqlError("TD001", "steps are missing", "Field: $.steps",
                               "No transaction is prepared under this gid, so steps is needed: a "
                               "list of objects with the keys action and compensate.");
        case Refusal::other_branch:
            throw pg::SqlError(
                "TD002", "branch " + in_quotes(c.registration.branch_id) + " is registered already",
                core::is_two_phase(c.type())
                    ? "Its addresses or its data are others."
                    : "Somebody has recorded operation " + in_quotes(c.registration.op) + " of it.",
                "Give each branch an id of its own.");
        case Refusal::unreadable:
            throw pg::SqlError("TD003", "transaction " + in_quotes(c.gid()) + " cannot be read",
                               result.message, "dtm_force_stop(gid) ends it.");
        case Refusal::too_many:
            throw pg::SqlError("TD001", result.message, {},
                               "Split the work into several global transactions.");
        case Refusal::old_sql:
            throw pg::SqlError("0A000", "this database cannot store such a transaction",
                               "The SQL of dtm_pg in it is older than its library.",
                               "Run ALTER EXTENSION dtm_pg UPDATE.");
        case Refusal::status:
            not_in_this_state(c, *result.found);
        case Refusal::none:
        case Refusal::paused:
            break;
    }
    throw pg::SqlError("40001", "transaction " + in_quotes(c.gid()) + " is being changed by others",
                       result.message, "Try again.");
}

}  // namespace

store::CommandResult run_command(const store::TransCommand& command, Oid caller) {
    const store::TransCommand* const one = &command;
    store::CommandResult result =
        store::execute({&one, 1}, caller, pg::now(), hub::policy(), false)[0];
    if (result.what != store::CommandResult::What::done) refuse(command, result);
    if (command.what == Command::register_branch) return result;
    const std::string gid(command.gid());
    if (result.changed) {
        hub::pending_add(gid);
    } else if (!hub::pending_contains(gid)) {
        hub::announce(gid);  // committed already; its coordinator may be letting it rest
    }
    return result;
}

void refuse(const wire::BadRequest& bad) {
    throw pg::SqlError("TD001", bad.what(), "Field: " + bad.path, bad.hint);
}

RequestText request_text(Jsonb* request) {
    RequestText text;
    text.json = jsonb_text(request);
    if (!is_object(request)) return text;
    for (const JsonbMember& m : members(request)) {
        if (is_null(m.value)) continue;
        const auto named = [&m](const char* name) {
            return wire::json::equal_ignoring_case(m.key, name);
        };
        const bool is_text = m.value.type == jbvString;
        if (named("gid")) text.has_gid = !is_text || m.value.val.string.len > 0;
        if (named("trans_type") && is_text) {
            text.trans_type.assign(m.value.val.string.val,
                                   static_cast<std::size_t>(m.value.val.string.len));
        }
    }
    return text;
}

}  // namespace dtm::api
