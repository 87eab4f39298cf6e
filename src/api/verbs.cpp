// dtm_retry_now and dtm_force_stop: what an operator says to one transaction. The row is locked,
// judged by the transition table and written with a new version, so nothing in flight reverses it
// (P4).
#include "store/verbs.hpp"
#include "api/progress.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"
#include "core/machine.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "store/access.hpp"
#include "wire/stored.hpp"

namespace dtm::api {

namespace {

store::Locked lock(std::string_view gid, Oid viewer, std::string_view wish) {
    auto row = store::lock_for_verb(gid, viewer);
    if (!row) unknown_gid(gid);
    const auto status = core::parse_status(row->status);
    if (status && core::is_final(*status)) already_final(gid, row->status, wish);
    return std::move(*row);
}

Progress progress_of(std::string_view gid, const store::Locked& row) {
    RowTexts texts;
    texts.gid = gid;
    texts.trans_type = row.trans_type;
    texts.status = row.status;
    texts.create_time = row.create_time;
    texts.request = row.request;
    if (row.progress) texts.progress = *row.progress;
    return read_progress(texts);
}

// False: nothing was waiting for its time, so nothing is changed.
bool retry_now(std::string_view gid) {
    const Oid viewer = GetUserId();
    const store::AsOwner as_owner;
    const store::Locked row = lock(gid, viewer, "retried");
    const pg::UnixTime now = pg::now();
    if (!row.put_aside && row.next_cron_time && *row.next_cron_time <= now) {
        hub::pending_add(
            gid);  // due, but its coordinator may be letting it rest after a failed write
        return false;
    }
    Progress progress = progress_of(gid, row);
    std::optional<std::string> text;
    if (progress.unreadable.empty()) {
        core::retry_now(progress.state, now);
        // What waits for something else than a retry (a delay) is not hurried by this verb.
        const auto due = core::next_due(progress.request, progress.state, hub::policy());
        if (!row.put_aside && due && *due > now) return false;
        if (row.progress) text = wire::encode_progress(progress.state);
    }
    store::make_due(gid, text, now);
    hub::pending_add(gid);
    return true;
}

std::string force_stop(std::string_view gid) {
    const Oid viewer = GetUserId();
    const std::string role = pg::call([&] { return GetUserNameFromId(GetSessionUserId(), false); });
    const store::AsOwner as_owner;
    const store::Locked row = lock(gid, viewer, "stopped");
    Progress progress = progress_of(gid, row);
    // A row that this version cannot read is none that it can drive: it may be ended all the same.
    if (progress.unreadable.empty() && !core::force_stop(progress.request, progress.state)) {
        throw pg::SqlError("TD003", "transaction " + in_quotes(gid) + " cannot be stopped",
                           "dtm.state_transitions() has no such step for a " + row.trans_type +
                               " with status " + row.status + ".");
    }
    const auto status = core::to_string(core::Status::failed);
    store::stop(gid, status, "dtm_force_stop by role " + role, pg::now());
    hub::pending_add(gid);
    return std::string(status);
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_retry_now) { PG_RETURN_BOOL(api::retry_now(pg::text_arg(fcinfo, 0))); }

DTM_FUNCTION(dtm_force_stop) {
    const std::string status = api::force_stop(pg::text_arg(fcinfo, 0));
    return pg::text_datum(status);
}
