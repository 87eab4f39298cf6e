// dtm_grant and dtm_revoke: one word per kind of user instead of a list of GRANTs. They run GRANT
// and REVOKE as their caller, who therefore needs the right to do so; they have no rights of their
// own.
#include "api/result.hpp"
#include "pg/session.hpp"
#include "store/access.hpp"

extern "C" {
#include "utils/acl.h"
#include "utils/lsyscache.h"
}

namespace dtm::api {

namespace {

enum Level : unsigned { submit = 1, observe = 2, admin = 4, barrier = 8 };

struct Function {
    unsigned levels;
    bool internal;  // in schema dtm, not in the extension's
    const char* signature;
};

// Admins see what observers see; they submit nothing unless they may do that, too.
constexpr Function functions[] = {
    {submit, false, "dtm_submit(jsonb)"},
    {submit, false, "dtm_submit(text, jsonb[], text, jsonb)"},
    {submit, false, "dtm_prepare(jsonb)"},
    {submit, false, "dtm_abort(text, text)"},
    {submit, false, "dtm_register_branch(jsonb)"},
    {submit, false, "dtm_step(text, text, jsonb, integer[])"},
    {submit, false, "dtm_new_gid()"},
    {submit | observe | admin, false, "dtm_query(text)"},
    {submit | observe | admin, false, "dtm_wait(text, interval)"},
    {submit | observe | admin, false, "dtm_explain(text)"},
    {submit | observe | admin, true,
     "branches_of(text, text, text, timestamptz, timestamptz, text, text)"},
    {submit | observe | admin, true,
     "concern_of(text, text, text, timestamptz, timestamptz, text, text, text)"},
    {submit | observe | admin, true, "state_transitions()"},
    {observe | admin, true, "observe_all()"},
    {observe | admin, true, "coordinators()"},
    {observe | admin, false, "dtm_check()"},
    {admin, false, "dtm_retry_now(text)"},
    {admin, false, "dtm_force_stop(text)"},
    {admin, false, "dtm_subscribe(text, text, text)"},
    {admin, false, "dtm_unsubscribe(text, text)"},
    {admin, false, "dtm_drop_topic(text)"},
    {barrier, false, "dtm_barrier(text, text, text, text, text)"},
    {barrier, false, "dtm_barrier_verdict(text, text, text, text, text)"},
    {barrier, false, "dtm_barrier_call(text, text, text, text, text)"},
    {barrier, false, "dtm_barrier_call(text, text, text, text, text, \"any\")"},
    {barrier, false, "dtm_barrier_call(text, text, text, text, text, text[])"},
    {barrier, false, "dtm_barrier_query_prepared(text, text)"},
    {barrier, false, "dtm_branch(text, text, text, text)"},
    {barrier, false, "dtm_branch(text)"},
    {barrier, false, "dtm_protect(regclass, boolean)"},
    {barrier, false, "dtm_unprotect(regclass)"},
    {barrier, true, "barrier_trigger()"},
    {admin, false, "dtm_barrier_purge(interval)"},
    {admin, false, "dtm_pause(text, text, text, boolean)"},
    {admin, false, "dtm_resume(text, text, boolean)"},
    {admin, false, "dtm_skip(text, text, text)"},
    {admin, false, "dtm_redirect(text, text, text)"},
    {admin, false, "dtm_retry_all()"},
    {admin, false, "dtm_adopt()"},
    {admin, false, "dtm_import(text, boolean)"},
    {observe | admin, true, "endpoints()"},
};

struct View {
    unsigned levels;
    const char* name;
};
constexpr View views[] = {
    {submit | observe | admin, "dtm.transaction"},
    {submit | observe | admin, "dtm.branch"},
    {submit | observe | admin, "dtm.attention"},
    {observe | admin, "dtm.topic"},
    {observe | admin, "dtm.stat_coordinator"},
    {observe | admin, "dtm.stat_endpoint"},
    {observe | admin, "dtm.control"},
    {observe | admin, "dtm.event"},
};

constexpr const char* levels_hint =
    "Levels are submit (submit, see one's own transactions), observe (see those of all roles, "
    "with payloads and headers), admin (observe, all verbs of operators, topics, redirect: "
    "who has it can send payloads elsewhere) and barrier (the functions of a participant).";

void require(FunctionCallInfo fcinfo, int n, const char* name, const char* hint) {
    if (!PG_ARGISNULL(n)) return;
    throw pg::SqlError("TD001", std::string("the ") + name + " is NULL",
                       std::string("Field: ") + name, hint);
}

Level parse_level(const std::string& level) {
    if (level == "submit") return submit;
    if (level == "observe") return observe;
    if (level == "admin") return admin;
    if (level == "barrier") return barrier;
    throw pg::SqlError("TD001", "unknown level " + in_quotes(level), "Field: level", levels_hint);
}

// The SQL in the database may be that of an older version (P13).
bool exists(const std::string& function) {
    const Datum name = pg::text_datum(function);
    return pg::call([name] {
        LOCAL_FCINFO(fcinfo, 1);
        InitFunctionCallInfoData(*fcinfo, nullptr, 1, InvalidOid, nullptr, nullptr);
        fcinfo->args[0].value = name;
        fcinfo->args[0].isnull = false;
        (void)to_regprocedure(fcinfo);
        return !fcinfo->isnull;
    });
}

bool relation_exists(const char* name) {
    return store::table_exists(name + std::char_traits<char>::length("dtm."));
}

std::string schema_of(Oid function) {
    return pg::call(
        [&] { return quote_identifier(get_namespace_name(get_func_namespace(function))); });
}

// In the schema of the extension, where everybody may look functions up in most databases. Never
// taken back: others may have functions there, too.
void let_look_up(Oid own_function, Oid role, const std::string& to) {
    pg::Args args;
    args.oid(role).oid(pg::call([&] { return get_func_namespace(own_function); }));
    const pg::Rows found = pg::execute("SELECT pg_catalog.has_schema_privilege($1, $2, 'USAGE')",
                                       {OIDOID, OIDOID}, args);
    if (!found.boolean(0, 1))
        pg::execute("GRANT USAGE ON SCHEMA " + schema_of(own_function) + " " + to);
}

// verb: "GRANT" … "TO", "REVOKE" … "FROM"
void change(Oid own_function, Oid role, unsigned levels, const char* verb,
            const char* preposition) {
    const std::string to =
        std::string(preposition) + " " +
        std::string(pg::call([&] { return quote_identifier(GetUserNameFromId(role, false)); }));
    const std::string schema = schema_of(own_function);
    const pg::Spi spi;
    const pg::SafeSearchPath path;
    pg::execute(std::string(verb) + " USAGE ON SCHEMA dtm " + to);
    if (std::string_view(verb) == "GRANT") let_look_up(own_function, role, to);
    for (const View& v : views) {
        if (!(v.levels & levels) || !relation_exists(v.name)) continue;
        pg::execute(std::string(verb) + " SELECT ON TABLE " + v.name + " " + to);
    }
    for (const Function& f : functions) {
        if (!(f.levels & levels)) continue;
        std::string name = f.internal ? "dtm" : schema;
        name.append(".").append(f.signature);
        if (!exists(name)) continue;
        std::string sql = verb;
        sql.append(" EXECUTE ON FUNCTION ").append(name).append(" ").append(to);
        pg::execute(sql);
    }
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_grant) {
    api::require(fcinfo, 0, "role", "Give the name of a role, e.g. 'app'.");
    api::require(fcinfo, 1, "level", api::levels_hint);
    const api::Level level = api::parse_level(pg::text_arg(fcinfo, 1));
    api::change(fcinfo->flinfo->fn_oid, PG_GETARG_OID(0), level, "GRANT", "TO");
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_revoke) {
    api::require(fcinfo, 0, "role", "Give the name of a role, e.g. 'app'.");
    constexpr unsigned all = api::submit | api::observe | api::admin | api::barrier;
    api::change(fcinfo->flinfo->fn_oid, PG_GETARG_OID(0), all, "REVOKE", "FROM");
    PG_RETURN_VOID();
}
