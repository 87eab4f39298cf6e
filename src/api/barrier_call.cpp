// dtm_barrier_call: the barrier and one statement behind it, in one call from the client.
#include "api/branch_context.hpp"
#include "api/result.hpp"
#include "api/user_statement.hpp"

extern "C" {
#include "utils/array.h"
#include "utils/lsyscache.h"
}

namespace dtm::api {
namespace {

constexpr int first_value = 5;

// text: a value that has no type of its own yet.
UserValue text_value(Datum value, bool null) {
    UserValue v;
    v.null = null;
    if (!null) v.text = pg::call([&] { return TextDatumGetCString(value); });
    return v;
}

struct Elements {
    Datum* values;
    bool* nulls;
    int count;
    Oid type;
};

Elements elements_of(Datum array) {
    return pg::call([array] {
        Elements e{};
        ArrayType* a = DatumGetArrayTypeP(array);
        e.type = ARR_ELEMTYPE(a);
        int16 length = 0;
        bool by_value = false;
        char align = 0;
        get_typlenbyvalalign(e.type, &length, &by_value, &align);
        deconstruct_array(a, e.type, length, by_value, align, &e.values, &e.nulls, &e.count);
        return e;
    });
}

std::vector<UserValue> values_of_array(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(first_value)) {
        throw pg::SqlError("TD001", "the array of arguments is NULL", "Field: args",
                           "Leave it out when the SQL has no parameters.");
    }
    const Elements e = elements_of(PG_GETARG_DATUM(first_value));
    std::vector<UserValue> values;
    for (int i = 0; i < e.count; ++i) {
        if (e.type == TEXTOID) {
            values.push_back(text_value(e.values[i], e.nulls[i]));
        } else {
            values.push_back({e.type, e.values[i], e.nulls[i], nullptr});
        }
    }
    return values;
}

// VARIADIC "any": every argument with the type that the caller's SQL gives it.
std::vector<UserValue> values_of_any(FunctionCallInfo fcinfo) {
    if (get_fn_expr_variadic(fcinfo->flinfo)) return values_of_array(fcinfo);
    std::vector<UserValue> values;
    for (int i = first_value; i < PG_NARGS(); ++i) {
        const Oid type = get_fn_expr_argtype(fcinfo->flinfo, i);
        const bool null = PG_ARGISNULL(i);
        const Datum value = PG_GETARG_DATUM(i);
        if (type == UNKNOWNOID) {
            values.push_back({type, Datum{0}, null, null ? nullptr : DatumGetCString(value)});
        } else if (type == TEXTOID) {
            values.push_back(text_value(value, null));
        } else {
            values.push_back({type, value, null, nullptr});
        }
    }
    return values;
}

std::string sql_arg(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(4)) {
        throw pg::SqlError("TD001", "the SQL is NULL", "Field: sql",
                           "Give the statement that the barrier protects.");
    }
    return pg::text_arg(fcinfo, 4);
}

bool barrier_call(FunctionCallInfo fcinfo, const std::vector<UserValue>& values) {
    const BarrierBranch branch = barrier_branch_args(fcinfo);
    const std::string sql = sql_arg(fcinfo);
    require_writable("dtm_barrier_call");
    const pg::Spi spi;
    // Before the barrier: wrong SQL is wrong also when it would be skipped.
    const std::shared_ptr<UserStatement> statement = UserStatement::prepared(sql, values);
    if (!may_run(branch, pass_and_note(branch))) return false;
    const BehindBarrier behind(branch);
    statement->run(values);
    return true;
}

}  // namespace
}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_barrier_call) { return BoolGetDatum(api::barrier_call(fcinfo, {})); }

DTM_FUNCTION(dtm_barrier_call_any) {
    return BoolGetDatum(api::barrier_call(fcinfo, api::values_of_any(fcinfo)));
}

DTM_FUNCTION(dtm_barrier_call_text) {
    return BoolGetDatum(api::barrier_call(fcinfo, api::values_of_array(fcinfo)));
}
