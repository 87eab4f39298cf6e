// dtm_retry_now, dtm_retry_all, dtm_skip and dtm_force_stop: what an operator says to transactions.
// A row is locked, judged by core's rules and written with a new version, so nothing in flight
// reverses it (P4).
#include "store/verbs.hpp"
#include "api/orders.hpp"
#include "api/progress.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"
#include "core/machine.hpp"
#include "crash_point.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "store/access.hpp"
#include "store/control.hpp"
#include "store/hurry.hpp"
#include "store/listing.hpp"
#include "wire/branch_call.hpp"
#include "wire/stored.hpp"

#include <algorithm>

namespace dtm::api {

store::Locked lock_unfinished(std::string_view gid, Oid viewer, std::string_view wish) {
    auto row = store::lock_for_verb(gid, viewer);
    if (!row) unknown_gid(gid);
    const auto status = core::parse_status(row->status_word);
    if (status && core::is_final(*status)) already_final(gid, row->status_word, wish);
    return std::move(*row);
}

store::Locked lock_for_order(std::string_view gid, Oid viewer, std::string_view wish) {
    const bool url = gid.starts_with("http://") || gid.starts_with("https://");
    if (url && !store::lock_for_verb(gid, viewer)) {
        throw pg::SqlError("TD004", "transaction " + in_quotes(gid) + " does not exist",
                           "The first argument is the gid of a transaction.",
                           "A host is given as host => 'http://stock:8080'.");
    }
    return lock_unfinished(gid, viewer, wish);
}

namespace {

Progress progress_of(std::string_view gid, const store::Locked& row) {
    RowTexts texts;
    texts.gid = gid;
    texts.trans_type = row.type_word;
    texts.status = row.status_word;
    texts.create_time = row.create_time;
    texts.request = row.request;
    if (row.progress) texts.progress = *row.progress;
    texts.registered = row.registered;
    return read_progress(texts);
}

// One that cannot be read is looked at again: another version may read it.
store::Hurried hurried(const store::Locked& row, pg::UnixTime now) {
    if (row.unreadable) return {std::nullopt, now, false};
    try {
        return store::hurried_up(row, now, hub::policy());
    } catch (const std::runtime_error&) {  // of its texts
        return {std::nullopt, now, false};
    }
}

// False: nothing was waiting for its time, so nothing is changed.
bool retry_now(std::string_view gid) {
    const Oid viewer = GetUserId();
    const store::AsOwner as_owner;
    const std::string role = session_role();
    const store::Locked row = lock_unfinished(gid, viewer, "retried");
    if (store::is_paused(row.attention)) {
        throw pg::SqlError("TD003", "transaction " + in_quotes(gid) + " is paused",
                           "It was " + *row.attention + ".", "dtm_resume(gid) takes it up again.");
    }
    const pg::UnixTime now = pg::now();
    const store::Hurried row_now = hurried(row, now);
    if (!row.attention && row.next_cron_time && *row.next_cron_time <= now) {
        // As long as one of its calls is in flight. Written, it would not be driven until that has
        // ended, and its answer would be lost: what waits beside it is for its coordinator, which
        // may also be letting all of it rest after a failed write.
        hub::pending_add(gid, row_now.waited ? hub::Wish::hurry : hub::Wish::look);
        if (row_now.waited) store::record_event(gid, "retry_now", role, "");
        return row_now.waited;
    }
    if (!row.attention && (!row_now.due || *row_now.due > now)) return false;
    store::make_due(gid, row_now.progress, row_now.due, now);
    store::record_event(gid, "retry_now", role, "");
    DTM_CRASH_POINT("api.retry_now_written");
    hub::pending_add(gid);
    return true;
}

// Hints for the coordinator; it finds the others when it sweeps.
constexpr std::size_t most_hints = 4096;

std::size_t retry_all() {
    require_writable("dtm_retry_all");
    const Oid viewer = GetUserId();
    const std::string role = session_role();
    const store::AsOwner as_owner;
    const pg::UnixTime now = pg::now();
    // The sweep does not find these.
    const auto beside = store::waiting_beside(viewer, now, hub::policy(), most_hints);
    for (const std::string& gid : beside) hub::pending_add(gid, hub::Wish::hurry);
    std::vector<std::string> gids;
    const std::size_t count = beside.size() + store::reset_all(viewer, now, hub::policy(),
                                                               most_hints - beside.size(), gids);
    if (count == 0) return 0;
    store::record_event("", "retry_all", role, store::retry_event(count));
    DTM_CRASH_POINT("api.retry_all_written");
    for (const std::string& gid : gids) hub::pending_add(gid);
    return count;
}

std::string force_stop(std::string_view gid) {
    const Oid viewer = GetUserId();
    const std::string role = session_role();
    const store::AsOwner as_owner;
    const store::Locked row = lock_unfinished(gid, viewer, "stopped");
    Progress progress = progress_of(gid, row);
    // A row that this version cannot read is none that it can drive: it may be ended all the same.
    if (progress.unreadable.empty() && !core::force_stop(progress.request, progress.state)) {
        throw pg::SqlError("TD003", "transaction " + in_quotes(gid) + " cannot be stopped",
                           "dtm.state_transitions() has no such step for a " + row.type_word +
                               " with status " + row.status_word + ".");
    }
    const auto status = core::to_string(core::Status::failed);
    store::stop(gid, status, "dtm_force_stop by role " + role, pg::now());
    store::record_event(gid, "force_stop", role, "status was " + row.status_word);
    DTM_CRASH_POINT("api.force_stop_written");
    hub::pending_add(gid);
    return std::string(status);
}

std::uint32_t branch_index(const core::Request& request, const std::string& branch_id) {
    for (std::uint32_t i = 0; i < request.branches.size(); ++i) {
        if (request.branches[i].branch_id == branch_id) return i;
    }
    if (request.type == core::TransType::workflow) {
        throw pg::SqlError("TD001",
                           "the steps of workflow " + in_quotes(request.gid) + " cannot be skipped",
                           "Field: branch_id",
                           "They belong to its client, which decides what comes next; "
                           "dtm_force_stop(gid) ends the workflow.");
    }
    throw pg::SqlError(
        "TD001", "transaction " + in_quotes(request.gid) + " has no branch " + in_quotes(branch_id),
        "Field: branch_id", "dtm_explain(gid) lists its branches.");
}

std::string skip(const std::string& gid, const std::string& branch_id,
                 const std::optional<std::string>& reason) {
    const Oid viewer = GetUserId();
    const std::string role = session_role();
    const store::AsOwner as_owner;
    const store::Locked row = lock_unfinished(gid, viewer, "changed");
    Progress progress = progress_of(gid, row);
    if (!progress.unreadable.empty()) {
        throw pg::SqlError("TD003", "transaction " + in_quotes(gid) + " cannot be read",
                           progress.unreadable, "dtm_force_stop(gid) ends it.");
    }
    const std::uint32_t branch = branch_index(progress.request, branch_id);
    // A row that says nothing admits every action; a written one must name them (P6).
    if (!row.progress) {
        for (core::BranchState& b : progress.state.branches) b.may_have_run = true;
    }
    const pg::UnixTime now = pg::now();
    const std::string note = with_reason(std::string(core::skipped_by) + role, reason);
    const bool forward = progress.state.status == core::Status::submitted;
    if (!core::skip(progress.request, progress.state, branch, now, note)) {
        throw pg::SqlError("TD003",
                           "branch " + branch_id + " of " + in_quotes(gid) + " has nothing open",
                           "The transaction is " + row.status_word + ".",
                           "dtm_explain(gid) shows what it waits for.");
    }
    // A paused transaction stays paused; another one goes on at once, if it can.
    auto due = core::next_due(progress.request, progress.state, hub::policy());
    if (due) due = std::max(*due, now);
    store::write_progress(gid, wire::encode_progress(progress.state), due, now);
    std::string op(
        wire::op_name(progress.request, forward ? core::Op::action : core::Op::compensate));
    store::record_event(gid, "skip", role, with_reason(op + " of branch " + branch_id, reason));
    DTM_CRASH_POINT("api.skip_written");
    hub::pending_add(gid);
    return op;
}

std::string required(const std::optional<std::string>& value, const char* name) {
    if (value) return *value;
    throw pg::SqlError("TD001", std::string("the ") + name + " is NULL",
                       std::string("Field: ") + name);
}

}  // namespace

void resume_transaction(const std::string& gid, Oid viewer, const std::string& role) {
    const store::Locked row = lock_for_order(gid, viewer, "resumed");
    if (!store::is_paused(row.attention)) {
        throw pg::SqlError("TD003", "transaction " + in_quotes(gid) + " is not paused", {},
                           "dtm_retry_now() takes up one that was put aside.");
    }
    const pg::UnixTime now = pg::now();
    const store::Hurried row_now = hurried(row, now);
    store::make_due(gid, row_now.progress, row_now.due, now);
    store::record_event(gid, "resume", role, "");
    DTM_CRASH_POINT("api.resume_written");
    hub::pending_add(gid);
}

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_skip) {
    api::require_writable("dtm_skip");
    const std::string gid = api::required(pg::opt_text_arg(fcinfo, 0), "gid");
    const std::string branch = api::required(pg::opt_text_arg(fcinfo, 1), "branch_id");
    return pg::text_datum(api::skip(gid, branch, pg::opt_text_arg(fcinfo, 2)));
}

DTM_FUNCTION(dtm_retry_now) {
    api::require_writable("dtm_retry_now");
    PG_RETURN_BOOL(api::retry_now(api::required(pg::opt_text_arg(fcinfo, 0), "gid")));
}

DTM_FUNCTION(dtm_retry_all) { PG_RETURN_INT64(static_cast<std::int64_t>(api::retry_all())); }

DTM_FUNCTION(dtm_force_stop) {
    api::require_writable("dtm_force_stop");
    const std::string status = api::force_stop(api::required(pg::opt_text_arg(fcinfo, 0), "gid"));
    return pg::text_datum(status);
}
