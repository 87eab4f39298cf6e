// dtm_query: a transaction and its branches as dtm's GET query prints them (dtm-compat.md 1.6), the
// times in the session's time zone.
#include "api/progress.hpp"
#include "api/result.hpp"
#include "api/stored_progress.hpp"
#include "store/access.hpp"

namespace dtm::api {

namespace {

std::string transaction_json(const store::Stored& row, const Progress& progress) {
    wire::TransactionAnswer answer;
    answer.gid = row.gid;
    answer.trans_type = row.trans_type;
    answer.status = row.status;
    answer.owner = row.owner;
    if (progress.unreadable.empty()) answer.request = &progress.request;
    answer.create_time = row.create_time;
    answer.update_time = row.update_time;
    answer.finish_time = row.finish_time;
    answer.rollback_time = row.rollback_time;
    answer.next_cron_time = row.next_cron_time;
    answer.next_cron_interval = row.next_cron_interval;
    if (row.result) answer.result = *row.result;
    if (row.rollback_reason) answer.rollback_reason = *row.rollback_reason;
    return wire::transaction_json(answer, json_time);
}

std::string query(std::string_view gid) {
    const Oid viewer = GetUserId();
    const store::AsOwner as_owner;
    const auto row = store::find(gid, viewer);
    if (!row) return R"({"transaction":null,"branches":[]})";
    const RowTexts texts = texts_of(*row);
    const Progress progress = read_progress(texts);
    return "{\"transaction\":" + transaction_json(*row, progress) +
           ",\"branches\":" + wire::branches_json(texts, row->update_time, progress, json_time) +
           "}";
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_query) { return api::jsonb_datum(api::query(pg::text_arg(fcinfo, 0))); }
