// dtm.state_transitions(): the table of core/machine.cpp, as rows.
#include "api/result.hpp"
#include "core/machine.hpp"

using namespace dtm;

DTM_FUNCTION(dtm_state_transitions) {
    api::ResultRows rows(fcinfo);
    for (const core::Edge& edge : core::transitions()) {
        pg::Args row;
        row.text(core::to_string(edge.type))
            .text(core::to_string(edge.from))
            .text(core::to_string(edge.trigger))
            .text(core::to_string(edge.to))
            .text(edge.why);
        rows.add(row);
    }
    return Datum{0};
}
