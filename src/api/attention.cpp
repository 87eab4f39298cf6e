// dtm.concern_of(): why an unfinished row needs a person, and what he can do; no row when it does
// not. The view dtm.attention asks it. The most serious reason alone is told.
#include "api/dispatch.hpp"
#include "api/progress.hpp"
#include "api/result.hpp"
#include "hub/settings.hpp"
#include "store/access.hpp"
#include "store/control.hpp"

namespace dtm::api {

namespace {

constexpr std::chrono::seconds pause_patience{5};

struct Concern {
    std::string reason;
    std::string remedy;
};

std::string verb(const char* name, std::string_view gid) {
    return std::string(name) + "('" + std::string(gid) + "')";
}

Concern unreadable(const RowTexts& row, const std::string& why) {
    return {"its row cannot be read: " + why,
            "A newer version of dtm_pg may have written it: install that version, then " +
                verb("dtm_retry_now", row.gid) + "; or give it up with " +
                verb("dtm_force_stop", row.gid) + "."};
}

std::optional<std::string> redirected(std::string_view url) {
    const store::AsOwner as_owner;
    return store::redirected(store::control().redirects, url);
}

// Whoever wants no calls of the webhook (0) still wants to find here what fails.
std::uint32_t too_many_errors() {
    const int limit = hub::settings.alert_retry_limit;
    return static_cast<std::uint32_t>(limit > 0 ? limit : hub::default_alert_retry_limit);
}

Concern keeps_failing(const RowTexts& row, const Operation& o) {
    Concern c;
    c.reason = o.name() + " failed " + counted(o.life->errors, "time", "times") +
               " in a row: " + std::string(o.url);
    if (const auto place = redirected(o.url)) {
        c.reason += " (redirected to " + store::without_secrets(*place) + ")";
    }
    if (!o.life->last_answer.empty()) c.reason += " answered: " + o.life->last_answer;
    c.remedy = "Mend the service; it is called again";
    if (o.life->next) c.remedy += " at " + time_text(*o.life->next);
    c.remedy += ", or at once with " + verb("dtm_retry_now", row.gid) + ".";
    return c;
}

// How long a pause or a slow host may keep a call back before somebody is told of it.
std::chrono::milliseconds patience(core::Hold hold) {
    switch (hold) {
        case core::Hold::breaker:
            return std::chrono::milliseconds{0};
        case core::Hold::pause:
            return pause_patience;
        case core::Hold::crowd:
            break;
    }
    return late_after();
}

std::string remedy_of(core::Hold hold, std::string_view gid) {
    switch (hold) {
        case core::Hold::breaker:
            return "Mend the service: it is tried from time to time, and at once by " +
                   verb("dtm_retry_now", gid) + ".";
        case core::Hold::pause: {
            const DispatchState dispatch = dispatch_state();
            if (!dispatch.remedy.empty()) return dispatch.remedy;
            return "dtm_resume(host => '...') takes it up again; dtm.control says who paused it.";
        }
        case core::Hold::crowd:
            break;
    }
    return "Mend the service, or raise dtm.max_in_flight_per_host if it can do more at a time; "
           "dtm.stat_endpoint shows how long its answers take.";
}

std::optional<Concern> not_called(const RowTexts& row, const Operation& o) {
    const core::KeptBack& kept = *o.life->kept_back;
    if (pg::now() - kept.since < patience(kept.hold)) return std::nullopt;
    return Concern{o.name() + " is kept back since " + time_text(kept.since) + ": " + kept.reason,
                   remedy_of(kept.hold, row.gid)};
}

std::optional<Concern> nobody_works(const pg::UnixTime& due) {
    const auto late = pg::now() - due;
    if (late < pause_patience) return std::nullopt;
    const DispatchState dispatch = dispatch_state();
    if (late < late_after() && dispatch.what != Dispatch::paused) return std::nullopt;
    Concern c;
    c.reason = "due since " + time_text(due) + ", and nobody works on it";
    if (!dispatch.because.empty()) c.reason += ": " + dispatch.because;
    c.remedy = dispatch.remedy.empty()
                   ? "dtm.stat_coordinator shows whether the coordinator is overloaded; another "
                     "session may hold a lock on the row."
                   : dispatch.remedy;
    return c;
}

std::optional<Concern> concern(const RowTexts& row, const std::optional<std::string>& aside,
                               const std::optional<pg::UnixTime>& due) {
    const Progress progress = read_progress(row);
    if (!progress.unreadable.empty()) return unreadable(row, aside.value_or(progress.unreadable));
    if (store::is_paused(aside)) {
        return Concern{*aside, verb("dtm_resume", row.gid) + " takes it up again."};
    }
    if (aside) {
        return Concern{*aside, "Remove the cause, then " + verb("dtm_retry_now", row.gid) +
                                   "; or give it up with " + verb("dtm_force_stop", row.gid) + "."};
    }
    const auto all = operations(progress);
    if (const Operation* o = worst(all, progress.state, too_many_errors())) {
        return keeps_failing(row, *o);
    }
    if (const Operation* o = kept_back(all, progress.state)) {
        if (auto found = not_called(row, *o)) return found;
    }
    return due ? nobody_works(*due) : std::nullopt;
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

// (gid, trans_type, status, create_time, next_cron_time, request, progress, attention)
DTM_FUNCTION(dtm_concern_of) {
    api::ResultRows rows(fcinfo);
    const auto row = api::row_arg(fcinfo);
    if (!row) return Datum{0};
    if (const auto found = api::concern(row->texts, pg::opt_text_arg(fcinfo, 7), row->time)) {
        pg::Args values;
        values.text(found->reason).text(found->remedy);
        rows.add(values);
    }
    return Datum{0};
}
