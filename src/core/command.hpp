// What a client's command does to a global transaction, given the status it finds: table 5.2 of
// dtm-compat.md as a pure function, with dtm's own words for a refusal (its appendix D). Used by
// the API server and by the SQL functions alike, so both doors rule alike. Knows no row and no
// clock.
#pragma once

#include "core/types.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace dtm::core {

enum class Command : std::uint8_t {
    prepare,
    submit,  // msg, saga, tcc, xa
    finish,  // submit of a workflow: its client says how it ended (1.5.5)
    abort,
    force_stop,
    register_branch,
    prepare_workflow,  // creates or resumes; never refused for an existing gid
    hurry,             // resetNextCronTime: due now, whatever its status
};

// What is known of the stored transaction.
struct Found {
    TransType type = TransType::saga;
    Status status = Status::prepared;
};

struct Ruling {
    enum class What : std::uint8_t {
        create,   // insert the row with status `to`
        nothing,  // the command has been carried out before: success, the row stays
        change,   // write status `to`
        insert,   // register_branch: insert its rows
        hurry,    // the status stays; make it due now (and run another round)
        failure,  // refuse: FAILURE, HTTP 409, SQLSTATE TD003
        error,    // refuse: HTTP 500 (unknown gid …)
    };
    What what = What::error;
    Status to = Status::prepared;
    std::string refusal;  // failure, error: dtm's text, e.g. "current status 'succeed', cannot
                          // prepare. FAILURE"
    bool operator==(const Ruling&) const = default;
};

// `type`: the type that the command names; not looked at by force_stop and hurry, nor by abort's
// and register_branch's refusals of unknown gids. `end`: finish only, succeed or failed. A command
// that names another type than the stored one is refused (D36): "trans type: 'S' …" for abort, else
// "gid G is a transaction of type 'S', not 'T'. FAILURE"; one that its type does not know (submit
// of a workflow, finish of anything else) is an error: "unknow trans type: T".
Ruling rule(Command, std::string_view gid, TransType type, std::optional<Found> found,
            Status end = Status::succeed);

}  // namespace dtm::core
