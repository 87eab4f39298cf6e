// See session.hpp.
#include "pg/session.hpp"

#include "pg/call.hpp"

#include <exception>
#include <string>

namespace dtm::pg {

namespace {

void set_for_a_while(const char* name, const char* value) {
    call([=] {
        (void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                                false);
    });
}

void set_safe_search_path() { set_for_a_while("search_path", "pg_catalog, pg_temp"); }

}  // namespace

GucLevel::GucLevel(Set set)
    : set_(set), level_(NewGUCNestLevel()), exceptions_(std::uncaught_exceptions()) {}

GucLevel::~GucLevel() {
    // After an error the abort of the (sub)transaction unwinds it.
    if (std::uncaught_exceptions() == exceptions_) AtEOXact_GUC(set_ == Set::keep, level_);
}

SafeSearchPath::SafeSearchPath() { set_safe_search_path(); }

LockTimeout::LockTimeout(std::chrono::milliseconds time) {
    set_for_a_while("lock_timeout", std::to_string(time.count()).c_str());
}

AsRole::AsRole(Oid role) { before_.act_as(role, SECURITY_LOCAL_USERID_CHANGE); }

Confined::Confined(Oid role) {
    set_safe_search_path();
    before_.act_as(role, SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

}  // namespace dtm::pg
