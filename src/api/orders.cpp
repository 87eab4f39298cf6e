// The operator's standing orders: dtm_pause, dtm_resume, dtm_redirect. A durable row each, and an
// event; coordinators hear of them at COMMIT and read them anyway every few seconds.
#include "api/orders.hpp"

#include "api/result.hpp"
#include "crash_point.hpp"
#include "hub/pending.hpp"
#include "store/access.hpp"
#include "store/control.hpp"
#include "store/verbs.hpp"
#include "wire/rules.hpp"

namespace dtm::api {

std::string session_role() {
    return pg::call([] { return GetUserNameFromId(GetSessionUserId(), false); });
}

std::string with_reason(std::string what, const std::optional<std::string>& reason) {
    if (reason && !reason->empty()) what.append(what.empty() ? "" : ": ").append(*reason);
    return what;
}

namespace {

constexpr std::string_view paused_by = "paused by ";

void check_host(const std::string& host) {
    const bool http = host.starts_with("http://") || host.starts_with("https://");
    if (http && host.find("://") + 3 < host.size()) return;
    throw pg::SqlError("TD001", "the host " + in_quotes(host) + " is not a URL", "Field: host",
                       "Give scheme, name and port as the URLs of the branches have them, e.g. "
                       "http://stock:8080.");
}

void refuse_both(const std::optional<std::string>& gid, const std::optional<std::string>& host) {
    if (!gid || !host) return;
    throw pg::SqlError("TD001", "both a gid and a host are given", "Field: host",
                       "Give one of them, or none to mean everything.");
}

store::Locked lock(std::string_view gid, Oid viewer, const char* wish) {
    auto row = store::lock_for_verb(gid, viewer);
    if (!row) unknown_gid(gid);
    const auto status = core::parse_status(row->status_word);
    if (status && core::is_final(*status)) already_final(gid, row->status_word, wish);
    return std::move(*row);
}

[[noreturn]] void refuse_state(const std::string& what, const char* state, const char* hint) {
    throw pg::SqlError("TD003", what + " is " + state, {}, hint);
}

void pause_transaction(const std::string& gid, const std::optional<std::string>& reason, Oid viewer,
                       const std::string& role) {
    const store::Locked row = lock(gid, viewer, "paused");
    if (row.attention && row.attention->starts_with(paused_by)) {
        refuse_state("transaction " + in_quotes(gid), "paused already", "See dtm.attention.");
    }
    store::set_aside(gid, with_reason(std::string(paused_by) + role, reason), pg::now());
    store::record_event(gid, "pause", role, reason.value_or(""));
    DTM_CRASH_POINT("api.pause_written");
    hub::pending_add(gid);
}

std::string named(const std::string& host) { return host.empty() ? "everything" : "host " + host; }

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_pause) {
    const auto gid = pg::opt_text_arg(fcinfo, 0);
    const auto host = pg::opt_text_arg(fcinfo, 1);
    const auto reason = pg::opt_text_arg(fcinfo, 2);
    api::refuse_both(gid, host);
    if (host) api::check_host(*host);
    const Oid viewer = GetUserId();
    const std::string role = api::session_role();
    const store::AsOwner as_owner;
    if (gid) {
        api::pause_transaction(*gid, reason, viewer, role);
        PG_RETURN_VOID();
    }
    const std::string name = host.value_or("");
    if (!store::give_order("pause", name, {}, reason, role)) {
        api::refuse_state(api::named(name), "paused already", "See dtm.control.");
    }
    store::record_event("", "pause", role, api::with_reason(api::named(name), reason));
    DTM_CRASH_POINT("api.order_written");
    hub::pending_control();
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_resume) {
    const auto gid = pg::opt_text_arg(fcinfo, 0);
    const auto host = pg::opt_text_arg(fcinfo, 1);
    api::refuse_both(gid, host);
    const Oid viewer = GetUserId();
    const std::string role = api::session_role();
    const store::AsOwner as_owner;
    if (gid) {
        api::resume_transaction(*gid, viewer, role);
        PG_RETURN_VOID();
    }
    const std::string name = host.value_or("");
    if (!store::take_back_order("pause", name)) {
        api::refuse_state(api::named(name), "not paused",
                          "dtm.control lists what is, as it was written.");
    }
    store::record_event("", "resume", role, api::named(name));
    DTM_CRASH_POINT("api.order_taken_back");
    hub::pending_control();
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_redirect) {
    const auto from = pg::opt_text_arg(fcinfo, 0);
    const auto to = pg::opt_text_arg(fcinfo, 1);
    const auto reason = pg::opt_text_arg(fcinfo, 2);
    for (const auto& [prefix, field] : {std::pair(&from, "old_prefix"), {&to, "new_prefix"}}) {
        if (prefix == &to && !to) continue;
        const bool http =
            *prefix && ((*prefix)->starts_with("http://") || (*prefix)->starts_with("https://"));
        if (http) continue;
        throw pg::SqlError("TD001",
                           std::string("the ") + field + " is " +
                               (*prefix ? "not the beginning of a URL" : "NULL"),
                           std::string("Field: ") + field,
                           "Give what URLs begin with, e.g. http://stock:8080/v1.");
    }
    const std::string role = api::session_role();
    const store::AsOwner as_owner;
    if (to) {
        store::change_order("redirect", *from, *to, reason, role);
    } else if (!store::take_back_order("redirect", *from)) {
        throw pg::SqlError("TD004", "nothing is redirected from " + api::in_quotes(*from), {},
                           "dtm.control lists what is.");
    }
    store::record_event("", "redirect", role,
                        api::with_reason(*from + (to ? " to " + *to : " no more"), reason));
    DTM_CRASH_POINT("api.redirect_written");
    hub::pending_control();
    PG_RETURN_VOID();
}
