// tcc and xa: the client calls every branch once, then decides; the second phase is ours: confirm
// (commit) all of them or cancel (roll back) all of them (dtm-compat.md 5.6, 5.7). Knows neither
// how a call is made nor how a row is written. The decision is in the row before the first call, so
// a crash only ever repeats calls of the same kind (P4, P5).
#include "core/round.hpp"

namespace dtm::core {
namespace {

// Whoever registers while the row still says `prepared` must be cancelled, too. The branches in
// memory may be fewer by now, so this decision is written without a call; what is read after it has
// them all, because nobody registers any more.
void await_decision(Round& r) {
    const auto end = deadline(r.request, r.state(), r.policy);
    if (end && r.now < *end) return r.wake_at(*end);
    std::string reason = r.timeout_reason();
    if (!r.move(Trigger::timeout)) return;
    r.state().rollback_reason = std::move(reason);
    r.state().outdated = true;
}

void drive(Round& r, Op op, Trigger done) {
    const auto count = static_cast<std::uint32_t>(r.state().branches.size());
    for (std::uint32_t n = 0; n < count; ++n) {
        const std::uint32_t branch = from_the_last(r.request.type, op) ? count - 1 - n : n;
        if (op_state(r.state(), branch, op).status == BranchStatus::succeed) continue;
        if (!r.attempt(branch, op)) return;
    }
    r.move(done);
}

}  // namespace

void run_two_phase(Round& r, const Answer* answer) {
    if (answer) r.insist(*answer);
    switch (r.state().status) {
        case Status::prepared:
            return await_decision(r);
        case Status::submitted:
            return drive(r, Op::action, Trigger::all_succeeded);
        case Status::aborting:
            return drive(r, Op::compensate, Trigger::all_compensated);
        case Status::succeed:
        case Status::failed:
            return;
    }
}

}  // namespace dtm::core
