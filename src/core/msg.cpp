// A message: ask the silent client's database what became of it, then deliver until everybody has
// it (dtm-compat.md 5.4). Knows neither how a call is made nor how a row is written. It has no way
// back, so a crash only ever repeats a question or a delivery.
#include "core/round.hpp"

namespace dtm::core {
namespace {

void take_query_answer(Round& r, const Answer& answer) {
    OpState& life = r.accept(answer);
    const bool open = r.state().status == Status::prepared;  // else the client was faster (P4)
    switch (answer.outcome.result) {
        case Result::success:
            r.succeed(life);
            if (open) r.move(Trigger::query_success);
            return;
        case Result::failure:
            r.fail(life, answer.outcome);
            if (open) r.move(Trigger::query_failure);
            return;
        case Result::ongoing:
        case Result::error:
        case Result::deferred:
            return r.postpone(life, answer);
    }
}

void ask(Round& r) {
    const auto end = deadline(r.request, r.state(), r.policy);
    if (end && r.now < *end) return r.wake_at(*end);
    // Without a URL the message is committed by its timeout (D9).
    if (r.attempt(0, Op::query)) r.move(Trigger::query_success);
}

void deliver(Round& r) {
    const Time start = r.state().create_time + bounded(r.request.options.delay);
    if (r.now < start) return r.wake_at(start);
    if (r.attempt_actions()) r.move(Trigger::all_succeeded);
}

}  // namespace

void run_msg(Round& r, const Answer* answer) {
    if (answer && answer->op == Op::query) take_query_answer(r, *answer);
    if (answer && answer->op == Op::action) r.insist(*answer);
    if (r.state().status == Status::prepared) ask(r);
    if (r.state().status == Status::submitted) deliver(r);
}

}  // namespace dtm::core
