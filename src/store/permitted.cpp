// See permitted.hpp.
#include "store/permitted.hpp"

#include "pg/spi.hpp"

extern "C" {
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

namespace dtm::store {

namespace {

struct Function {
    Door door;
    const char* signature;  // %s: the schema of the extension
    // Instead of it, where the SQL in the database is older (P13).
    const char* before = nullptr;
};

constexpr const char* submit_json = "%s.dtm_submit(pg_catalog.jsonb)";
constexpr const char* retry_one = "%s.dtm_retry_now(pg_catalog.text)";

constexpr std::array<Function, deeds> functions{{
    {{"dtm_submit", "submit"}, submit_json},
    {{"dtm_prepare", "submit"}, "%s.dtm_prepare(pg_catalog.jsonb)", submit_json},
    {{"dtm_abort", "submit"}, "%s.dtm_abort(pg_catalog.text, pg_catalog.text)", submit_json},
    {{"dtm_register_branch", "submit"}, "%s.dtm_register_branch(pg_catalog.jsonb)", submit_json},
    {{"dtm_query", "submit"}, "%s.dtm_query(pg_catalog.text)"},
    {{"dtm.observe_all", "observe"}, "dtm.observe_all()"},
    {{"dtm_retry_now", "admin"}, retry_one},
    {{"dtm_retry_all", "admin"}, "%s.dtm_retry_all()", retry_one},
    {{"dtm_force_stop", "admin"}, "%s.dtm_force_stop(pg_catalog.text)"},
    {{"dtm_subscribe", "admin"},
     "%s.dtm_subscribe(pg_catalog.text, pg_catalog.text, pg_catalog.text)"},
    {{"dtm_unsubscribe", "admin"}, "%s.dtm_unsubscribe(pg_catalog.text, pg_catalog.text)"},
    {{"dtm_drop_topic", "admin"}, "%s.dtm_drop_topic(pg_catalog.text)"},
}};

bool something_changed = true;

void note_change(Datum, int, uint32) { something_changed = true; }

void listen_for_changes() {
    static bool listening = false;
    if (listening) return;
    pg::call([] {
        for (const int cache : {PROCOID, AUTHOID, AUTHMEMROLEMEM}) {
            CacheRegisterSyscacheCallback(cache, note_change, Datum{0});
        }
    });
    listening = true;
}

}  // namespace

Door door_of(Deed deed) { return functions.at(static_cast<std::size_t>(deed)).door; }

std::string grant_call(Oid role, std::string_view level) {
    const char* const name = pg::call(
        [role] { return quote_literal_cstr(quote_identifier(GetUserNameFromId(role, false))); });
    return std::string("SELECT dtm_grant(").append(name).append(", '").append(level).append("')");
}

Permitted permitted(Oid role) {
    static pg::Statement statement(
        "SELECT COALESCE(pg_catalog.has_function_privilege($1, COALESCE("
        "pg_catalog.to_regprocedure(pg_catalog.format(f.signature, e.schema)),"
        " pg_catalog.to_regprocedure(pg_catalog.format(f.before, e.schema))), 'EXECUTE'), false)"
        " FROM (SELECT extnamespace::pg_catalog.regnamespace AS schema FROM pg_catalog.pg_extension"
        " WHERE extname OPERATOR(pg_catalog.=) 'dtm_pg') e,"
        " ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY"
        " AS f(signature, before, place) ORDER BY f.place",
        {OIDOID, TEXTARRAYOID, TEXTARRAYOID});
    std::vector<std::optional<std::string_view>> signatures, before;
    for (const Function& f : functions) {
        signatures.emplace_back(f.signature);
        before.push_back(f.before ? std::optional<std::string_view>(f.before) : std::nullopt);
    }
    pg::Args args;
    args.oid(role).datum(pg::text_array(signatures)).datum(pg::text_array(before));
    const pg::Rows rows = statement.execute(args);
    Permitted result{};
    for (std::size_t i = 0; i < std::min(rows.size(), result.size()); ++i) {
        result.at(i) = rows.boolean(i, 1);
    }
    return result;
}

bool rights_changed() {
    listen_for_changes();
    return std::exchange(something_changed, false);
}

}  // namespace dtm::store
