// See jsonb.hpp.
#include "api/jsonb.hpp"

namespace dtm::api {

Jsonb* jsonb_of(Datum d) {
    return pg::call([&] { return DatumGetJsonbP(d); });
}

Jsonb* jsonb_arg(FunctionCallInfo fcinfo, int n) { return jsonb_of(PG_GETARG_DATUM(n)); }

std::string_view jsonb_text(Jsonb* value) {
    int length = 0;
    const char* text = pg::call([&] {
        StringInfo const out = makeStringInfo();
        (void)JsonbToCString(out, &value->root, VARSIZE(value));
        length = out->len;
        return static_cast<const char*>(out->data);
    });
    return {text, static_cast<std::size_t>(length)};
}

std::string_view jsonb_text(const JsonbValue& value) {
    JsonbValue copy = value;
    return jsonb_text(pg::call([&] { return JsonbValueToJsonb(&copy); }));
}

bool is_object(const Jsonb* value) { return JB_ROOT_IS_OBJECT(value); }

std::vector<JsonbMember> members(Jsonb* object) {
    std::vector<JsonbMember> found;
    found.reserve(JB_ROOT_COUNT(object));
    JsonbIterator* it = pg::call([&] { return JsonbIteratorInit(&object->root); });
    JsonbMember member{};
    for (;;) {
        JsonbValue value;
        const JsonbIteratorToken token =
            pg::call([&] { return JsonbIteratorNext(&it, &value, true); });
        if (token == WJB_DONE) break;
        if (token == WJB_KEY) {
            member.key = {value.val.string.val, static_cast<std::size_t>(value.val.string.len)};
        } else if (token == WJB_VALUE) {
            member.value = value;
            found.push_back(member);
        }
    }
    return found;
}

}  // namespace dtm::api
