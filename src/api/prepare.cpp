// dtm_prepare, dtm_abort, dtm_register_branch: the SQL doors of what dtm's clients do over HTTP
// before they submit (dtm-compat.md 1.5.3, 1.5.6, 1.5.8).
#include "api/command.hpp"
#include "api/gid.hpp"
#include "api/result.hpp"
#include "crash_point.hpp"
#include "store/access.hpp"
#include "store/subscribers.hpp"
#include "wire/api_request.hpp"

namespace dtm::api {

namespace {

// With a gid made where none is given: the last member of a name wins.
std::string with_gid(Jsonb* request) {
    RequestText text = request_text(request);
    if (text.has_gid || !is_object(request)) return std::move(text.json);
    text.json.back() = text.json.size() > 2 ? ',' : ' ';
    wire::json::append_string(text.json += "\"gid\":", new_gid());
    return std::move(text.json) + "}";
}

std::string prepare(Jsonb* request) {
    require_writable("dtm_prepare");
    const Oid caller = GetUserId();
    const store::AsOwner as_owner;
    const std::string json = with_gid(request);
    store::TransCommand command =
        store::command_of(wire::parse_trans(json, core::Command::prepare, store::subscriber_urls));
    command.strict = true;
    (void)run_command(command, caller);
    DTM_CRASH_POINT("api.prepare_written");
    return command.request->gid;
}

std::string_view abort(std::string gid, std::string reason) {
    require_writable("dtm_abort");
    const Oid caller = GetUserId();
    const store::AsOwner as_owner;
    core::Request request;
    request.gid = std::move(gid);
    store::TransCommand command;
    command.what = core::Command::abort;
    command.request = std::make_shared<core::Request>(std::move(request));
    command.any_type = true;
    command.reason = std::move(reason);
    const store::CommandResult result = run_command(command, caller);
    DTM_CRASH_POINT("api.abort_written");
    return core::to_string(result.status);
}

bool register_branch(std::string_view json) {
    require_writable("dtm_register_branch");
    const Oid caller = GetUserId();
    const store::AsOwner as_owner;
    store::TransCommand command;
    command.what = core::Command::register_branch;
    command.registration = wire::parse_registration(json);
    const bool is_new = run_command(command, caller).changed;
    DTM_CRASH_POINT("api.branch_registered");
    return is_new;
}

// The argument, of which NULL is refused like any other bad request.
Jsonb* request_arg(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(0)) throw wire::BadRequest("$", "the request is NULL");
    return jsonb_arg(fcinfo, 0);
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_prepare) {
    std::string gid;
    try {
        gid = api::prepare(api::request_arg(fcinfo));
    } catch (const wire::BadRequest& bad) {
        api::refuse(bad);
    }
    return pg::text_datum(gid);
}

DTM_FUNCTION(dtm_abort) {
    const auto gid = pg::opt_text_arg(fcinfo, 0);
    if (!gid) throw pg::SqlError("TD001", "the gid is NULL", "Field: gid");
    return pg::text_datum(api::abort(*gid, pg::opt_text_arg(fcinfo, 1).value_or("")));
}

DTM_FUNCTION(dtm_register_branch) {
    bool is_new = false;
    try {
        is_new = api::register_branch(api::jsonb_text(api::request_arg(fcinfo)));
    } catch (const wire::BadRequest& bad) {
        api::refuse(bad);
    }
    PG_RETURN_BOOL(is_new);
}
