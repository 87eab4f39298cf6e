// The transition table of global transactions: one row per edge, one sentence per row that says
// why. It is the only list of legal status changes; decide() and the operator's verbs move along
// it, a SQL function prints it and the chart in core/README.md is generated from it.
#pragma once

#include "core/types.hpp"

#include <span>

namespace dtm::core {

enum class Trigger : std::uint8_t {
    submit,           // dtm_submit or the API
    all_succeeded,    // every action (confirm, commit) succeeded
    action_failure,   // an action answered FAILURE
    timeout,          // timeout_to_fail is over
    retry_limit,      // an action used up retry_limit
    all_compensated,  // every compensation that was due succeeded
    query_success,    // query-prepared answered success
    query_failure,    // query-prepared answered FAILURE
    abort,            // the client takes it back before anything is decided
    finish_succeed,   // a workflow's client says that it is done,
    finish_failed,    // or that it is not and never will be
    force_stop,       // an operator ends it
};
std::string_view to_string(Trigger);

struct Edge {
    TransType type;
    Status from;
    Trigger trigger;
    Status to;
    std::string_view why;
};

// All edges, ordered by type, from, trigger.
std::span<const Edge> transitions();

// The target of the edge, or nullopt when the table has none: the caller must refuse.
std::optional<Status> target(TransType, Status from, Trigger);

// The chart of core/README.md: Mermaid text made from transitions().
std::string mermaid_chart();

}  // namespace dtm::core
