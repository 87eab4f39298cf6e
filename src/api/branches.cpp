// dtm.branches_of(): the rows of dtm.branch that a row of dtm.trans stands for.
#include "api/progress.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"

using namespace dtm;

// (gid, trans_type, status, create_time, finish_time, request, progress)
DTM_FUNCTION(dtm_branches_of) {
    api::ResultRows rows(fcinfo);
    auto row = api::row_arg(fcinfo);
    if (!row) return Datum{0};
    row->texts.finish_time = row->time;
    const api::Progress progress = api::read_progress(row->texts);
    for (const api::Operation& o : api::operations(progress)) {
        pg::Args values;
        values.text(o.branch_id())
            .text(o.op_name())
            .text(o.url)
            .text(core::to_string(o.life->status))
            .int4(static_cast<std::int32_t>(o.life->attempts))
            .int4(static_cast<std::int32_t>(o.life->errors))
            .time(o.life->next)
            .time(o.life->finished)
            .text_or_null(core::last_word(*o.life))
            .boolean(o.may_have_run);
        rows.add(values);
    }
    return Datum{0};
}
