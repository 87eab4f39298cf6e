// See permission.hpp.
#include "server/permission.hpp"

#include "store/control.hpp"

namespace dtm::server {
namespace {

using store::Deed;

// The function that does in SQL what a route does; none: the route asks no table.
std::optional<Deed> deed_of(Route route) {
    switch (route) {
        case Route::prepare:
        case Route::prepare_workflow:
            return Deed::prepare;
        case Route::submit:
            return Deed::submit;
        case Route::abort:
            return Deed::abort;
        case Route::register_branch:
            return Deed::register_branch;
        case Route::query:
        case Route::all:  // those that the role may see
            return Deed::query;
        case Route::force_stop:
            return Deed::force_stop;
        case Route::reset_next_cron_time:
            return Deed::retry_now;
        case Route::reset_cron_time:
            return Deed::retry_all;
        case Route::subscribe:
            return Deed::subscribe;
        case Route::unsubscribe:
            return Deed::unsubscribe;
        case Route::delete_topic:
            return Deed::drop_topic;
        case Route::scan_kv:
        case Route::query_kv:
            return Deed::observe;
        case Route::version:
        case Route::new_gid:
        case Route::metrics:
        case Route::ping:
        case Route::json_rpc:  // what it asks for is a route of its own
            break;
    }
    return std::nullopt;
}

}  // namespace

void Permission::look_up(Oid role) {
    if (store::rights_changed() || role != role_) permitted_.reset();
    if (permitted_) return;
    permitted_ = store::permitted(role);
    role_ = role;
}

std::optional<Answer> Permission::refusal(Route route) const {
    const auto deed = deed_of(route);
    if (!deed || permitted_->at(static_cast<std::size_t>(*deed))) return std::nullopt;
    const store::Door door = store::door_of(*deed);
    std::string message =
        "role \"" + store::role_name(role_) + "\" of dtm.api_role may not execute ";
    message.append(door.name).append("(), which this request needs: ");
    message.append(store::grant_call(role_, door.level)).append(" allows it");
    return failure_answer(wire::ApiOutcome::Kind::error, std::move(message));
}

}  // namespace dtm::server
