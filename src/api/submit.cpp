// dtm_submit in both forms: refuse what is wrong before anything is stored, insert one row as the
// tables' owner, and remember the gid until COMMIT (P1, P2). The second submit of a gid is answered
// like the first when it is the same request and its transaction is unfinished.
#include "api/difference.hpp"
#include "api/gid.hpp"
#include "api/jsonb.hpp"
#include "api/request_of_steps.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"
#include "crash_point.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "store/access.hpp"
#include "store/subscription.hpp"
#include "store/trans.hpp"
#include "wire/request.hpp"
#include "wire/stored.hpp"

extern "C" {
#include "utils/acl.h"
}

namespace dtm::api {

namespace {

[[noreturn]] void refuse(const wire::BadRequest& bad) {
    throw pg::SqlError("TD001", bad.what(), "Field: " + bad.path, bad.hint);
}

// The gid exists. Returns when the stored transaction is what this request asks for and still runs.
// False: it has vanished in the meantime.
bool same_as_stored(const core::Request& request, const std::string& text, Oid caller) {
    const auto row = store::load_one(request.gid);
    if (!row) return false;
    const std::string message = "gid " + in_quotes(request.gid) + " is in use";
    constexpr const char* hint =
        "A gid names one transaction for ever. Leave gid out to have one made, or ask for this one "
        "with dtm_query(gid).";
    const Oid owner = row->owner;
    if (!pg::call([&] { return has_privs_of_role(caller, owner); })) {
        throw pg::SqlError("TD002", message, "It belongs to a transaction of another role.",
                           "A gid names one transaction for ever. Leave gid out to have one made.");
    }
    if (row->type != request.type || row->request != text) {
        throw pg::SqlError("TD002", message + " by a different request", difference(*row, request),
                           hint);
    }
    if (core::is_final(row->status)) {
        throw pg::SqlError("TD002", message + " by a finished transaction",
                           "The request is the same. Its status is " +
                               std::string(core::to_string(row->status)) + ", and that is final.",
                           hint);
    }
    return true;
}

void put(const core::Request& request, Oid caller) {
    const std::string text = wire::encode_request(request);
    store::NewTrans row;
    row.gid = request.gid;
    row.type = request.type;
    row.owner = caller;
    row.request = text;
    row.due = pg::now() + request.options.delay;
    row.interval_s = static_cast<int>(core::base_interval(request, hub::policy()).count());
    for (;;) {
        if (store::insert(row)) {
            hub::pending_add(request.gid);
            DTM_CRASH_POINT("api.submit_written");
            return;
        }
        if (same_as_stored(request, text, caller)) {
            // Committed already, or this transaction's own and then remembered.
            if (!hub::pending_contains(request.gid)) hub::announce(request.gid);
            return;
        }
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
}

std::string submit(std::string_view json) {
    require_writable("dtm_submit");
    const Oid caller = GetUserId();
    const store::AsOwner as_owner;
    core::Request request = wire::parse_submit(json, store::subscriber_urls);
    if (request.gid.empty()) request.gid = new_gid();
    put(request, caller);
    return std::move(request.gid);
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_submit_request) {
    std::string gid;
    try {
        if (PG_ARGISNULL(0)) throw wire::BadRequest("$", "the request is NULL");
        gid = api::submit(api::jsonb_text(api::jsonb_arg(fcinfo, 0)));
    } catch (const wire::BadRequest& bad) {
        api::refuse(bad);
    }
    return pg::text_datum(gid);
}

DTM_FUNCTION(dtm_submit_steps) {
    std::string gid;
    try {
        api::StepsForm form;
        form.trans_type = pg::opt_text_arg(fcinfo, 0);
        if (!PG_ARGISNULL(1)) form.steps = PG_GETARG_DATUM(1);
        form.gid = pg::opt_text_arg(fcinfo, 2);
        if (!PG_ARGISNULL(3)) form.options = PG_GETARG_DATUM(3);
        gid = api::submit(api::request_of_steps(form));
    } catch (const wire::BadRequest& bad) {
        api::refuse(api::in_words_of_steps(bad));
    }
    return pg::text_datum(gid);
}
