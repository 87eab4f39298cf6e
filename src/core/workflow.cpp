// A workflow: its client does everything and says how it ended; we only wake the client up, as long
// as it has not (dtm-compat.md 5.8). Knows neither the steps nor the end, which comes as a command.
// A crash makes the client be called once more, which it must bear with anyway.
#include "core/round.hpp"

namespace dtm::core {
namespace {

// The client works on its side of the call and reports by a command of its own, so no answer
// decides: all but an error means that somebody was there.
void take_answer(Round& r, Answer answer) {
    OpState& life = r.accept(answer);
    Outcome& outcome = answer.outcome;
    if (outcome.result == Result::success) outcome.reason.clear();
    if (outcome.result == Result::success || outcome.result == Result::failure)
        outcome.result = Result::ongoing;
    r.postpone(life, answer);
}

void call_back(Round& r) {
    if (r.request.query_prepared.empty()) return;  // nobody to call
    const OpState& life = r.state().query;
    const Time first = r.state().create_time + base_interval(r.request, r.policy);
    const bool never_called = !life.next && !life.in_flight;
    if (never_called && r.now < first) return r.wake_at(first);
    r.attempt(0, Op::query);
}

}  // namespace

void run_workflow(Round& r, const Answer* answer) {
    if (answer) take_answer(r, *answer);
    if (r.state().status == Status::prepared) call_back(r);
}

}  // namespace dtm::core
