// jsonb arguments, looked at without turning the whole value into text first. What the views refer
// to lives in the current memory context.
#pragma once

#include "pg/call.hpp"

#include <string>
#include <string_view>
#include <vector>

extern "C" {
#include "utils/jsonb.h"
}

namespace dtm::api {

struct JsonbMember {
    std::string_view key;
    JsonbValue value;
};

Jsonb* jsonb_arg(FunctionCallInfo, int n);
Jsonb* jsonb_of(Datum);
std::string_view jsonb_text(Jsonb*);  // canonical text, as jsonb prints itself
std::string_view jsonb_text(const JsonbValue&);
bool is_object(const Jsonb*);
// The members of an object. Keys are unique; jsonb keeps the last of duplicates.
std::vector<JsonbMember> members(Jsonb*);
inline bool is_null(const JsonbValue& v) { return v.type == jbvNull; }

}  // namespace dtm::api
