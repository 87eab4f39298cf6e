// The table itself: every legal status change of a global transaction, with its reason. Knows no
// event, no branch and no time; those are decide()'s. A wrong edge cannot be taken by accident:
// what is not listed here is refused, and the compiler checks that the list is complete and
// unambiguous.
#include "core/machine.hpp"

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace dtm::core {
namespace {

using enum Status;
using T = TransType;
using On = Trigger;

constexpr std::array edges{
    Edge{T::msg, prepared, On::submit, submitted,
         "the client committed its local transaction, so the message must be delivered"},
    Edge{T::msg, prepared, On::query_success, submitted,
         "the client fell silent, but the query found its local transaction committed"},
    Edge{T::msg, prepared, On::query_failure, failed,
         "the local transaction did not happen and the query made sure that it never can"},
    Edge{T::msg, prepared, On::abort, failed,
         "the client takes the message back before anything was delivered"},
    Edge{T::msg, prepared, On::force_stop, failed, "an operator ends it; nothing was delivered"},
    Edge{T::msg, submitted, On::all_succeeded, succeed, "every subscriber has it"},
    Edge{T::msg, submitted, On::force_stop, failed,
         "an operator ends it; what was delivered stays delivered"},
    Edge{T::saga, prepared, On::submit, submitted,
         "a prepared saga is inert until the client submits it"},
    Edge{T::saga, prepared, On::force_stop, failed, "an operator ends it; nothing was called"},
    Edge{T::saga, submitted, On::all_succeeded, succeed,
         "every step is done, there is nothing left to decide"},
    Edge{T::saga, submitted, On::action_failure, aborting,
         "a step said that it cannot be done, so the others must be undone"},
    Edge{T::saga, submitted, On::timeout, aborting, "the submitter allowed only so much time"},
    Edge{T::saga, submitted, On::retry_limit, aborting,
         "the submitter allowed only so many attempts of one step"},
    Edge{T::saga, submitted, On::force_stop, failed, "an operator ends it; steps stay as they are"},
    Edge{T::saga, aborting, On::all_compensated, failed, "every step that may have run is undone"},
    Edge{T::saga, aborting, On::force_stop, failed,
         "an operator ends it; open compensations stay open"},
    Edge{T::tcc, prepared, On::submit, submitted,
         "every try succeeded, so all that was reserved is to be confirmed"},
    Edge{T::tcc, prepared, On::timeout, aborting,
         "the client fell silent before its decision, so nothing may stay reserved"},
    Edge{T::tcc, prepared, On::abort, aborting, "a try failed, so the others must be cancelled"},
    Edge{T::tcc, prepared, On::force_stop, failed, "an operator ends it; what is reserved stays"},
    Edge{T::tcc, submitted, On::all_succeeded, succeed, "every branch is confirmed"},
    Edge{T::tcc, submitted, On::force_stop, failed,
         "an operator ends it; open confirmations stay open"},
    Edge{T::tcc, aborting, On::all_compensated, failed, "every registered branch is cancelled"},
    Edge{T::tcc, aborting, On::force_stop, failed,
         "an operator ends it; open cancellations stay open"},
    Edge{T::xa, prepared, On::submit, submitted,
         "every branch is prepared, so all of them are to be committed"},
    Edge{T::xa, prepared, On::timeout, aborting,
         "the client fell silent before its decision, so nobody may stay prepared"},
    Edge{T::xa, prepared, On::abort, aborting, "a branch failed, so the others must roll back"},
    Edge{T::xa, prepared, On::force_stop, failed,
         "an operator ends it; prepared branches stay prepared"},
    Edge{T::xa, submitted, On::all_succeeded, succeed, "every branch has committed"},
    Edge{T::xa, submitted, On::force_stop, failed,
         "an operator ends it; open branches stay prepared"},
    Edge{T::xa, aborting, On::all_compensated, failed, "every registered branch has rolled back"},
    Edge{T::xa, aborting, On::force_stop, failed,
         "an operator ends it; open branches stay prepared"},
    Edge{T::workflow, prepared, On::finish_succeed, succeed,
         "its client has done all steps; it alone knows them"},
    Edge{T::workflow, prepared, On::finish_failed, failed,
         "its client has given up and undone what it had to"},
    Edge{T::workflow, prepared, On::force_stop, failed,
         "an operator ends it; its client finds that out when it resumes"},
};

// A message cannot roll back; a workflow decides and ends with one word of its client.
constexpr std::array unreachable{std::pair{T::msg, aborting}, std::pair{T::workflow, submitted},
                                 std::pair{T::workflow, aborting}};
constexpr std::array all_types{T::msg, T::saga, T::tcc, T::xa, T::workflow};

constexpr bool same_source(const Edge& e, T type, Status from) {
    return e.type == type && e.from == from;
}

constexpr bool ordered_and_unambiguous() {
    const auto key = [](const Edge& e) { return std::tuple(e.type, e.from, e.trigger); };
    for (std::size_t i = 1; i < edges.size(); ++i)
        if (!(key(edges[i - 1]) < key(edges[i]))) return false;
    return true;
}

constexpr bool complete() {
    for (T type : all_types)
        for (Status from : {prepared, submitted, aborting, succeed, failed}) {
            const bool has_row = std::ranges::any_of(
                edges, [&](const Edge& e) { return same_source(e, type, from); });
            const bool listed =
                is_final(from) ||
                std::ranges::find(unreachable, std::pair{type, from}) != unreachable.end();
            if (has_row == listed) return false;
        }
    return true;
}

constexpr bool explained() {
    return std::ranges::none_of(edges, [](const Edge& e) { return e.why.empty(); });
}

static_assert(ordered_and_unambiguous(), "two rows share (type, from, trigger), or order is lost");
static_assert(complete(),
              "a (type, status) has neither a row nor a place in the list of exceptions");
static_assert(explained(), "an edge without a why");

std::string node(const Edge& e, Status s) {
    return std::string(to_string(e.type)) + "_" + std::string(to_string(s));
}

void append_type(std::string& chart, T type) {
    const std::string name(to_string(type));
    chart += "  state " + name + " {\n";
    for (Status s : {prepared, submitted, aborting, succeed, failed})
        if (std::ranges::find(unreachable, std::pair{type, s}) == unreachable.end())
            chart += "    state \"" + std::string(to_string(s)) + "\" as " + name + "_" +
                     std::string(to_string(s)) + "\n";
    for (auto e = edges.begin(); e != edges.end(); ++e) {
        const auto parallel = [&](const Edge& o) {
            return same_source(o, e->type, e->from) && o.to == e->to;
        };
        // Parallel edges share one arrow, drawn where the first of them stands.
        if (e->type != type || std::any_of(edges.begin(), e, parallel)) continue;
        chart += "    " + node(*e, e->from) + " --> " + node(*e, e->to) + " : ";
        std::string_view separator;
        for (const Edge& o : edges) {
            if (!parallel(o)) continue;
            chart += separator;
            chart += to_string(o.trigger);
            separator = " / ";
        }
        chart += "\n";
    }
    for (Status s : {succeed, failed})
        chart += "    " + name + "_" + std::string(to_string(s)) + " --> [*]\n";
    chart += "  }\n";
}

}  // namespace

std::string_view to_string(Trigger t) {
    constexpr std::array<std::string_view, 12> names{
        "submit",      "all_succeeded",   "action_failure", "timeout",
        "retry_limit", "all_compensated", "query_success",  "query_failure",
        "abort",       "finish_succeed",  "finish_failed",  "force_stop"};
    const auto i = static_cast<std::size_t>(t);
    return i < names.size() ? names[i] : "?";
}

std::span<const Edge> transitions() { return edges; }

std::optional<Status> target(TransType type, Status from, Trigger trigger) {
    for (const Edge& e : edges)
        if (same_source(e, type, from) && e.trigger == trigger) return e.to;
    return std::nullopt;
}

std::string mermaid_chart() {
    std::string chart = "stateDiagram-v2\n  direction LR\n";
    for (T type : all_types) append_type(chart, type);
    return chart;
}

}  // namespace dtm::core
