// dtm_query: a transaction and its branches as dtm's GET query prints them (dtm-compat.md 1.6), the
// times in the session's time zone.
#include "api/result.hpp"
#include "store/access.hpp"
#include "store/stored_answer.hpp"

namespace dtm::api {

namespace {

std::string query(std::string_view gid) {
    const Oid viewer = GetUserId();
    const store::AsOwner as_owner;
    const auto row = store::find(gid, viewer);
    if (!row) return R"({"transaction":null,"branches":[]})";
    const wire::RowTexts texts = store::texts_of(*row);
    const wire::Progress progress = wire::read_progress(texts);
    const core::Request* request = progress.unreadable.empty() ? &progress.request : nullptr;
    return "{\"transaction\":" +
           wire::transaction_json(store::answer_of(*row, request), json_time) +
           ",\"branches\":" + wire::branches_json(texts, row->update_time, progress, json_time) +
           "}";
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_query) { return api::jsonb_datum(api::query(pg::text_arg(fcinfo, 0))); }
