// dtm_step: one step of dtm_submit's second form. It only writes things down; dtm_submit judges
// them.
#include "api/result.hpp"
#include "wire/json.hpp"

extern "C" {
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
}

namespace dtm::api {

namespace {

// All of the following is C: called within pg::call, and what it allocates is PostgreSQL's.

JsonbValue text_value(text* t) {
    JsonbValue v{};
    v.type = jbvString;
    v.val.string.val = VARDATA_ANY(t);
    v.val.string.len = static_cast<int>(VARSIZE_ANY_EXHDR(t));
    return v;
}

void push_key(JsonbParseState** state, const char* name) {
    JsonbValue v{};
    v.type = jbvString;
    v.val.string.val = const_cast<char*>(name);
    v.val.string.len = static_cast<int>(strlen(name));
    (void)pushJsonbValue(state, WJB_KEY, &v);
}

void push_text(JsonbParseState** state, const char* name, text* t) {
    push_key(state, name);
    JsonbValue v = text_value(t);
    (void)pushJsonbValue(state, WJB_VALUE, &v);
}

void push_payload(JsonbParseState** state, Jsonb* payload) {
    push_key(state, "payload");
    JsonbValue v{};
    if (!JB_ROOT_IS_SCALAR(payload) || !JsonbExtractScalar(&payload->root, &v)) {
        v.type = jbvBinary;
        v.val.binary.data = &payload->root;
        v.val.binary.len = static_cast<int>(VARSIZE(payload) - VARHDRSZ);
    }
    (void)pushJsonbValue(state, WJB_VALUE, &v);
}

void push_after(JsonbParseState** state, const Datum* steps, const bool* nulls, int count) {
    push_key(state, "after");
    (void)pushJsonbValue(state, WJB_BEGIN_ARRAY, nullptr);
    for (int i = 0; i < count; ++i) {
        JsonbValue v{};
        v.type = jbvNull;  // refused by dtm_submit, which can say where it is
        if (!nulls[i]) {
            v.type = jbvNumeric;
            v.val.numeric = DatumGetNumeric(DirectFunctionCall1(int4_numeric, steps[i]));
        }
        (void)pushJsonbValue(state, WJB_ELEM, &v);
    }
    (void)pushJsonbValue(state, WJB_END_ARRAY, nullptr);
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_step) {
    if (PG_ARGISNULL(0)) {
        throw pg::SqlError("TD001", "the action of a step is NULL", "Field: action",
                           "Give the URL that is called, or '' for a step that succeeds without a "
                           "call.");
    }
    return pg::call([&]() -> Datum {
        JsonbParseState* state = nullptr;
        (void)pushJsonbValue(&state, WJB_BEGIN_OBJECT, nullptr);
        api::push_text(&state, "action", PG_GETARG_TEXT_PP(0));
        if (!PG_ARGISNULL(1)) api::push_text(&state, "compensate", PG_GETARG_TEXT_PP(1));
        if (!PG_ARGISNULL(2)) api::push_payload(&state, PG_GETARG_JSONB_P(2));
        if (!PG_ARGISNULL(3)) {
            Datum* steps = nullptr;
            bool* nulls = nullptr;
            int count = 0;
            deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), INT4OID, 4, true, TYPALIGN_INT, &steps,
                              &nulls, &count);
            api::push_after(&state, steps, nulls, count);
        }
        return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, nullptr)));
    });
}
