// See hurry.hpp.
#include "store/hurry.hpp"

#include "core/decide.hpp"
#include "wire/stored.hpp"

#include <algorithm>

namespace dtm::store {

Hurried hurried_up(const Row& row, core::Time now, const core::Policy& policy) {
    const core::Request request = request_of(row);
    core::State state = state_of(row, request);
    const core::State before = state;
    Hurried done;
    done.waited = core::anything_waits(request, state, now);
    core::retry_now(request, state, now);
    done.due = core::next_due(request, state, policy);
    if (done.due) done.due = std::max(*done.due, now);
    if (row.progress || state != before) done.progress = wire::encode_progress(state);
    return done;
}

}  // namespace dtm::store
