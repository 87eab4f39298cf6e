// The trigger function of tables under dtm_protect(): a row is written when the barrier of this
// transaction's branch says run, and skipped otherwise. Legacy code that only writes tables is a
// safe branch that way (P3).
#include "api/branch_context.hpp"
#include "api/result.hpp"
#include "hub/settings.hpp"

extern "C" {
#include "commands/trigger.h"
#include "utils/rel.h"
#include "utils/relcache.h"
}

#include <cstring>

namespace dtm::api {
namespace {

const char* command_of(TriggerEvent event) {
    if (TRIGGER_FIRED_BY_INSERT(event)) return "INSERT";
    if (TRIGGER_FIRED_BY_UPDATE(event)) return "UPDATE";
    if (TRIGGER_FIRED_BY_DELETE(event)) return "DELETE";
    return "TRUNCATE";
}

// The trigger's argument, written by dtm_protect: required, optional or setting.
bool barrier_required(const TriggerData& data) {
    if (data.tg_trigger->tgnargs == 1) {
        const char* rule = data.tg_trigger->tgargs[0];
        if (std::strcmp(rule, "required") == 0) return true;
        if (std::strcmp(rule, "optional") == 0) return false;
    }
    return hub::settings.barrier_required;
}

std::string table_of(const TriggerData& data) {
    return in_quotes(NameStr(data.tg_relation->rd_rel->relname));
}

[[noreturn]] void refuse_without_branch(const TriggerData& data) {
    throw pg::SqlError(
        "TD006", "table " + table_of(data) + " is protected, and this transaction has no branch",
        std::string(command_of(data.tg_event)) + " without dtm_branch(...).",
        "Call dtm_branch() with what the branch call carries, in the same "
        "transaction, before the first write.");
}

// Else the row is written by a trigger that a cascade into some other table has fired.
bool references_something(Relation table) {
    return pg::call([table] { return RelationGetFKeyList(table) != NIL; });
}

// True: write. False: skip the row.
bool pass(const TriggerData& data) {
    if (current_branch() == nullptr) {
        if (barrier_required(data)) refuse_without_branch(data);
        return true;
    }
    const Passage decision = decide_for_branch();
    if (decision.verdict == core::Verdict::run) return true;
    const std::string verdict =
        "The barrier's verdict is " + std::string(to_string(decision.verdict));
    if (TRIGGER_FIRED_BY_TRUNCATE(data.tg_event)) {
        throw pg::SqlError("0A000", "TRUNCATE of " + table_of(data) + " cannot be skipped",
                           verdict + ".", "Use DELETE, or run TRUNCATE in dtm_barrier_call().");
    }
    // Only referential integrity runs its queries so. Who skips their rows breaks it silently.
    if (InNoForceRLSOperation() && references_something(data.tg_relation)) {
        throw pg::SqlError("0A000", "rows of " + table_of(data) + " would be orphaned",
                           verdict + ", and a foreign key cascades into a protected table.",
                           "Protect the referenced table with dtm_protect(), too.");
    }
    return false;
}

Datum tuple_to_write(const TriggerData& data) {
    if (TRIGGER_FIRED_FOR_STATEMENT(data.tg_event)) return PointerGetDatum(nullptr);
    if (TRIGGER_FIRED_BY_UPDATE(data.tg_event)) return PointerGetDatum(data.tg_newtuple);
    return PointerGetDatum(data.tg_trigtuple);
}

}  // namespace
}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_barrier_trigger) {
    if (!CALLED_AS_TRIGGER(fcinfo) ||
        !TRIGGER_FIRED_BEFORE(reinterpret_cast<TriggerData*>(fcinfo->context)->tg_event)) {
        throw pg::SqlError("0A000", "dtm.barrier_trigger() is a trigger function", {},
                           "dtm_protect() makes its triggers.");
    }
    const TriggerData& data = *reinterpret_cast<TriggerData*>(fcinfo->context);
    return api::pass(data) ? api::tuple_to_write(data) : PointerGetDatum(nullptr);
}
