// dtm.branches_of(): the rows of dtm.branch that a row of dtm.trans stands for.
#include "api/progress.hpp"
#include "api/result.hpp"

using namespace dtm;

// (gid, trans_type, status, create_time, finish_time, request, progress)
DTM_FUNCTION(dtm_branches_of) {
    api::ResultRows rows(fcinfo);
    for (const int n : {0, 1, 2, 3, 5}) {
        if (PG_ARGISNULL(n)) return Datum{0};
    }
    api::RowTexts row;
    row.gid = api::view_arg(fcinfo, 0);
    row.trans_type = api::view_arg(fcinfo, 1);
    row.status = api::view_arg(fcinfo, 2);
    row.create_time = pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(3));
    if (!PG_ARGISNULL(4)) row.finish_time = pg::from_timestamptz(PG_GETARG_TIMESTAMPTZ(4));
    row.request = api::view_arg(fcinfo, 5);
    if (!PG_ARGISNULL(6)) row.progress = api::view_arg(fcinfo, 6);
    row.registered = api::registered_of(row.gid, row.trans_type, GetUserId());
    const api::Progress progress = api::read_progress(row);
    for (const api::Operation& o : api::operations(progress)) {
        pg::Args values;
        values.text(o.branch_id())
            .text(o.op_name())
            .text(o.url)
            .text(core::to_string(o.life->status))
            .int4(static_cast<std::int32_t>(o.life->attempts))
            .int4(static_cast<std::int32_t>(o.life->errors))
            .time(o.life->next)
            .time(o.life->finished);
        if (o.life->last_answer.empty()) {
            values.null();
        } else {
            values.text(std::string_view(o.life->last_answer));
        }
        values.boolean(o.may_have_run);
        rows.add(values);
    }
    return Datum{0};
}
