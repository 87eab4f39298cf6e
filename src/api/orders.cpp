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

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

namespace dtm::api {

std::string session_role() {
    return pg::call([] { return GetUserNameFromId(GetSessionUserId(), false); });
}

std::string with_reason(std::string what, const std::optional<std::string>& reason) {
    if (reason && !reason->empty()) what.append(what.empty() ? "" : ": ").append(*reason);
    return what;
}

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_url(const std::string& text) {
    try {
        wire::check_url(wire::Path(), text);
    } catch (const wire::BadRequest&) {
        return false;
    }
    return !text.empty();
}

bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

// Whether it is the form that the coordinator gives all spellings of a host (net/host_key.hpp).
bool is_usual_form(const std::string& host) {
    if (host.starts_with('[')) {
        in6_addr address{};
        std::array<char, INET6_ADDRSTRLEN> text{};
        const std::string inner = host.substr(1, host.size() - 2);
        return inet_pton(AF_INET6, inner.c_str(), &address) == 1 && inner.find('.') == inner.npos &&
               inner == inet_ntop(AF_INET6, &address, text.data(), text.size());
    }
    if (!std::ranges::all_of(host, is_name_char)) return false;
    in_addr number{};
    if (inet_aton(host.c_str(), &number) == 0) return true;
    return inet_pton(AF_INET, host.c_str(), &number) == 1;
}

// One spelling for one host, so that an order is found again: lower case, no slash at the end, no
// port that goes without saying, addresses in their usual form.
std::string canonical_host(const std::string& given) {
    std::string url = given;
    std::ranges::transform(url, url.begin(), lower);
    while (url.ends_with('/')) url.pop_back();
    const std::size_t name = url.find("://") + 3;
    if (!is_url(url) || url.find_first_of("/?#@", name) != url.npos) {
        throw pg::SqlError("TD001", "the host " + in_quotes(given) + " is not a URL of a host",
                           "Field: host",
                           "Give scheme, name and port as the URLs of the branches have them, e.g. "
                           "http://stock:8080, without a path: all of a host is paused.");
    }
    const std::size_t bracket = url.find(']', name);
    const std::size_t colon = url.find(':', bracket == url.npos ? name : bracket);
    std::string host = url.substr(name, colon - name);
    if (host.size() > 1 && host.ends_with('.')) host.pop_back();
    if (!is_usual_form(host)) {
        throw pg::SqlError("TD001", "the host " + in_quotes(given) + " has an unusual form",
                           "Field: host",
                           "Give an address in full, e.g. http://127.0.0.1:8080 or http://[::1], "
                           "and a name without % and in ASCII (xn--...). URLs that spell the same "
                           "host otherwise are meant, too.");
    }
    std::string_view port;
    if (colon != url.npos) port = std::string_view(url).substr(colon + 1);
    while (port.starts_with('0')) port.remove_prefix(1);
    if (port == (url.starts_with("https") ? "443" : "80")) port = {};
    std::string canonical = url.substr(0, name) + host;
    if (!port.empty()) canonical.append(":").append(port);
    return canonical;
}

// What an order is about: one transaction, or one host, or everything ("").
struct Target {
    std::optional<std::string> gid;
    std::string host;
};

// Everything must be said: a gid that is NULL by mistake stops nobody else.
Target target_arg(FunctionCallInfo fcinfo, int everything_arg) {
    Target target{pg::opt_text_arg(fcinfo, 0), {}};
    const auto host = pg::opt_text_arg(fcinfo, 1);
    const bool everything = !PG_ARGISNULL(everything_arg) && PG_GETARG_BOOL(everything_arg);
    const int given = (target.gid ? 1 : 0) + (host ? 1 : 0) + (everything ? 1 : 0);
    if (given != 1) {
        throw pg::SqlError("TD001",
                           given == 0 ? "none of gid, host and everything is given"
                                      : "more than one of gid, host and everything is given",
                           "Field: gid",
                           "Give the gid of a transaction, or host => 'http://stock:8080', or "
                           "everything => true.");
    }
    if (host) target.host = canonical_host(*host);
    return target;
}

void check_prefix(const std::optional<std::string>& prefix, const char* field) {
    const std::string where = std::string("Field: ") + field;
    const char* hint = "Give what URLs begin with, e.g. http://stock:8080/v1.";
    if (!prefix || prefix->empty()) {
        throw pg::SqlError("TD001",
                           std::string("the ") + field + " is " + (prefix ? "empty" : "NULL"),
                           where, hint);
    }
    try {
        wire::check_url(wire::Path(), *prefix);
    } catch (const wire::BadRequest& bad) {
        throw pg::SqlError("TD001", bad.what(), where, bad.hint.empty() ? hint : bad.hint);
    }
}

// http://old/ and http://new would make one word of the new host and the path.
void check_replacement(const std::string& from, const std::string& to) {
    if (!from.ends_with('/') || !store::ends_with_host(to)) return;
    throw pg::SqlError("TD001", "old_prefix ends with a slash, and new_prefix with a host",
                       "Field: new_prefix",
                       "Give both a slash at the end, or none: http://old/ and http://new/, or "
                       "http://old and http://new.");
}

[[noreturn]] void refuse_state(const std::string& what, const char* state, const char* hint) {
    throw pg::SqlError("TD003", what + " is " + state, {}, hint);
}

void pause_transaction(const std::string& gid, const std::optional<std::string>& reason, Oid viewer,
                       const std::string& role) {
    const store::Locked row = lock_for_order(gid, viewer, "paused");
    if (store::is_paused(row.attention)) {
        refuse_state("transaction " + in_quotes(gid), "paused already", "See dtm.attention.");
    }
    if (row.attention) {
        throw pg::SqlError("TD003", "transaction " + in_quotes(gid) + " is put aside already",
                           *row.attention,
                           "Nothing happens to it before somebody acts; see dtm.attention.");
    }
    store::set_aside(gid, with_reason(std::string(store::paused_by) + role, reason), pg::now());
    store::record_event(gid, "pause", role, reason.value_or(""));
    DTM_CRASH_POINT("api.pause_written");
    hub::pending_add(gid);
}

std::string named(const std::string& host) { return host.empty() ? "everything" : "host " + host; }

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_pause) {
    api::require_writable("dtm_pause");
    const auto [gid, host] = api::target_arg(fcinfo, 3);
    const auto reason = pg::opt_text_arg(fcinfo, 2);
    const Oid viewer = GetUserId();
    const std::string role = api::session_role();
    const store::AsOwner as_owner;
    if (gid) {
        api::pause_transaction(*gid, reason, viewer, role);
        PG_RETURN_VOID();
    }
    if (!store::give_order("pause", host, {}, reason, role)) {
        api::refuse_state(api::named(host), "paused already", "See dtm.control.");
    }
    store::record_event("", "pause", role, api::with_reason(api::named(host), reason));
    DTM_CRASH_POINT("api.order_written");
    hub::pending_control();
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_resume) {
    api::require_writable("dtm_resume");
    const auto [gid, host] = api::target_arg(fcinfo, 2);
    const Oid viewer = GetUserId();
    const std::string role = api::session_role();
    const store::AsOwner as_owner;
    if (gid) {
        api::resume_transaction(*gid, viewer, role);
        PG_RETURN_VOID();
    }
    if (!store::take_back_order("pause", host)) {
        api::refuse_state(api::named(host), "not paused",
                          "dtm.control lists what is, as it was written.");
    }
    store::record_event("", "resume", role, api::named(host));
    DTM_CRASH_POINT("api.order_taken_back");
    hub::pending_control();
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_redirect) {
    api::require_writable("dtm_redirect");
    const auto from = pg::opt_text_arg(fcinfo, 0);
    const auto to = pg::opt_text_arg(fcinfo, 1);
    const auto reason = pg::opt_text_arg(fcinfo, 2);
    api::check_prefix(from, "old_prefix");
    if (to) {
        api::check_prefix(to, "new_prefix");
        api::check_replacement(*from, *to);
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
