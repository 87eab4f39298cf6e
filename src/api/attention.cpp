// dtm.concern_of(): why an unfinished row needs a person, and what he can do; no row when it does
// not. The view dtm.attention asks it. The most serious reason alone is told.
#include "api/dispatch.hpp"
#include "api/progress.hpp"
#include "api/result.hpp"
#include "hub/settings.hpp"

namespace dtm::api {

namespace {

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

Concern keeps_failing(const RowTexts& row, const Operation& o) {
    Concern c;
    c.reason = o.name() + " failed " + counted(o.life->errors, "time", "times") +
               " in a row: " + std::string(o.url);
    if (!o.life->last_answer.empty()) c.reason += " answered: " + o.life->last_answer;
    c.remedy = "Mend the service; it is called again";
    if (o.life->next) c.remedy += " at " + time_text(*o.life->next);
    c.remedy += ", or at once with " + verb("dtm_retry_now", row.gid) + ".";
    return c;
}

std::optional<Concern> concern(const RowTexts& row, const std::optional<std::string>& aside,
                               const std::optional<pg::UnixTime>& due) {
    const Progress progress = read_progress(row);
    if (!progress.unreadable.empty()) return unreadable(row, aside.value_or(progress.unreadable));
    if (aside && aside->starts_with("paused by ")) {
        return Concern{*aside, verb("dtm_resume", row.gid) + " takes it up again."};
    }
    if (aside) {
        return Concern{*aside, "Remove the cause, then " + verb("dtm_retry_now", row.gid) +
                                   "; or give it up with " + verb("dtm_force_stop", row.gid) + "."};
    }
    const int limit = hub::settings.alert_retry_limit;
    const auto all = operations(progress);
    if (limit > 0) {
        if (const Operation* o = worst(all, progress.state, static_cast<std::uint32_t>(limit))) {
            return keeps_failing(row, *o);
        }
    }
    if (!due || pg::now() - *due < late_after()) return std::nullopt;
    const DispatchState dispatch = dispatch_state();
    Concern c;
    c.reason = "due since " + time_text(*due) + ", and nobody works on it";
    if (!dispatch.because.empty()) c.reason += ": " + dispatch.because;
    c.remedy = dispatch.remedy.empty()
                   ? "dtm.stat_coordinator shows whether the coordinator is overloaded; another "
                     "session may hold a lock on the row."
                   : dispatch.remedy;
    return c;
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

// (gid, trans_type, status, create_time, next_cron_time, request, progress, attention)
DTM_FUNCTION(dtm_concern_of) {
    api::ResultRows rows(fcinfo);
    for (const int n : {0, 1, 2, 3, 5}) {
        if (PG_ARGISNULL(n)) return Datum{0};
    }
    api::RowTexts row;
    row.gid = api::view_arg(fcinfo, 0);
    row.trans_type = api::view_arg(fcinfo, 1);
    row.status = api::view_arg(fcinfo, 2);
    row.create_time = pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(3));
    std::optional<pg::UnixTime> due;
    if (!PG_ARGISNULL(4)) due = pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(4));
    row.request = api::view_arg(fcinfo, 5);
    if (!PG_ARGISNULL(6)) row.progress = api::view_arg(fcinfo, 6);
    row.registered = api::registered_of(row.gid, row.trans_type, GetUserId());
    if (const auto found = api::concern(row, pg::opt_text_arg(fcinfo, 7), due)) {
        pg::Args values;
        values.text(std::string_view(found->reason)).text(std::string_view(found->remedy));
        rows.add(values);
    }
    return Datum{0};
}
