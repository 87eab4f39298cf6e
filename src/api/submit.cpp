// dtm_submit in both forms: refuse what is wrong before anything is stored, insert one row as the
// tables' owner, and remember the gid until COMMIT (P1, P2). A gid that exists is prepared, and
// becomes submitted, or this is the second submit: answered like the first when it is the same
// request and its transaction is unfinished.
#include "api/command.hpp"
#include "api/gid.hpp"
#include "api/request_of_steps.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"
#include "crash_point.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "store/access.hpp"
#include "store/subscribers.hpp"
#include "store/trans.hpp"
#include "wire/api_request.hpp"
#include "wire/stored.hpp"

namespace dtm::api {

namespace {

// The usual case, by a statement for one row. False: the gid exists.
bool insert(const core::Request& request, Oid caller) {
    const std::string text = wire::encode_request(request);
    store::NewTrans row;
    row.gid = request.gid;
    row.type = request.type;
    row.owner = caller;
    row.request = text;
    row.due = pg::now() + request.options.delay;
    row.interval_s = static_cast<int>(core::base_interval(request, hub::policy()).count());
    if (!store::insert(row)) return false;
    hub::pending_add(request.gid);
    DTM_CRASH_POINT("api.submit_written");
    return true;
}

std::string submit(core::Request&& request, Oid caller) {
    if (request.gid.empty()) request.gid = new_gid();
    std::string gid = request.gid;
    const bool likely_new = core::lists_steps(request.type) && !request.branches.empty();
    if (likely_new && insert(request, caller)) return gid;
    store::TransCommand command;
    command.what = core::Command::submit;
    command.request = std::make_shared<core::Request>(std::move(request));
    command.strict = true;
    (void)run_command(command, caller);
    DTM_CRASH_POINT("api.submit_changed");
    return gid;
}

std::string finish(std::string_view json, Oid caller) {
    const store::TransCommand command =
        store::command_of(wire::parse_trans(json, core::Command::submit, {}));
    (void)run_command(command, caller);
    DTM_CRASH_POINT("api.finish_written");
    return command.request->gid;
}

std::string submit_request(Jsonb* body) {
    require_writable("dtm_submit");
    const Oid caller = GetUserId();
    const store::AsOwner as_owner;
    const RequestText text = request_text(body);
    if (text.trans_type == "workflow") return finish(text.json, caller);
    return submit(wire::parse_submit(text.json, store::subscriber_urls), caller);
}

std::string submit_steps(const StepsForm& form) {
    require_writable("dtm_submit");
    const Oid caller = GetUserId();
    const store::AsOwner as_owner;
    return submit(wire::parse_submit(request_of_steps(form), store::subscriber_urls), caller);
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_submit_request) {
    std::string gid;
    try {
        if (PG_ARGISNULL(0)) throw wire::BadRequest("$", "the request is NULL");
        gid = api::submit_request(api::jsonb_arg(fcinfo, 0));
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
        gid = api::submit_steps(form);
    } catch (const wire::BadRequest& bad) {
        api::refuse(api::in_words_of_steps(bad));
    }
    return pg::text_datum(gid);
}
