// The people's form of dtm_submit: makes dtm's request of trans_type, steps and options, so that
// both forms are checked by the same rules, and tells what is wrong in the words of the arguments
// that the user wrote. Stores nothing.
#pragma once

#include "wire/request.hpp"

#include "pg/call.hpp"

#include <optional>
#include <string>

namespace dtm::api {

struct StepsForm {
    std::optional<std::string> trans_type;
    std::optional<Datum> steps;  // jsonb[]
    std::optional<std::string> gid;
    std::optional<Datum> options;  // jsonb
};

// The request's JSON text, as dtm's HTTP submit takes it. Throws wire::BadRequest with paths such
// as $.steps[1].action and $.options.delay; steps are numbered from 0, as `after` numbers them.
std::string request_of_steps(const StepsForm&);

// Translates what is wrong with the request that request_of_steps made into the arguments it was
// made of: $.custom_data.orders["2"][0] is $.steps[2].after[0].
wire::BadRequest in_words_of_steps(const wire::BadRequest&);

}  // namespace dtm::api
