// A saga: actions forward, or everything that may have run undone backward (dtm-compat.md 5.5).
// Knows neither how a call is made nor how a row is written. A crash at any point ends in the same
// decision or in repeated calls, because what may have run is never forgotten (P6).
#include "core/round.hpp"

#include <algorithm>

namespace dtm::core {
namespace {

void roll_back(Round& r, Trigger trigger, std::string reason) {
    if (!r.move(trigger)) return;
    r.state().rollback_reason = std::move(reason);
    for (BranchState& b : r.state().branches) b.action.next.reset();
}

// limit + 1 calls in all: the counter of 5.5.5 grows with each answer that is neither success nor
// FAILURE. A call whose answer a crash swallowed counts like one of them, but is made again first:
// nobody knows what it did.
void retry_at_once(Round& r, OpState& life) {
    const std::uint32_t limit = r.request.options.retry_limit;
    if (limit == 0) return;
    life.next.reset();
    if (life.attempts > limit)
        roll_back(r, Trigger::retry_limit,
                  "RetryCount is greater than RetryLimit, RetryLimit: " + std::to_string(limit));
}

void take_action_answer(Round& r, const Answer& answer) {
    OpState& life = r.accept(answer);
    const bool forward = r.state().status == Status::submitted;
    switch (answer.outcome.result) {
        case Result::success:
            return r.succeed(life);
        case Result::failure:
            r.fail(life, answer.outcome);
            if (forward)
                roll_back(r, Trigger::action_failure,
                          "url:" + r.request.branches[answer.branch].action +
                              " return failed: " + answer.outcome.reason);
            return;
        case Result::ongoing:
        case Result::error:
            r.postpone(life, answer);
            if (forward)
                retry_at_once(r, life);
            else
                life.next.reset();  // it will not be called again, only undone
            return;
        case Result::deferred:
            r.postpone(life, answer);
            if (!forward) life.next.reset();
            return;
    }
}

// All successes beat the timeout: undoing what is complete would help nobody.
void forward(Round& r) {
    const auto failed = [](const BranchState& b) {
        return b.action.status == BranchStatus::failed;
    };
    if (std::ranges::any_of(r.state().branches, failed))
        return roll_back(r, Trigger::action_failure, "fail message lost");

    const auto end = deadline(r.request, r.state(), r.policy);
    if (end && r.now >= *end && !r.all_actions_succeeded())
        return roll_back(r, Trigger::timeout, r.timeout_reason());

    if (r.attempt_actions()) {
        r.move(Trigger::all_succeeded);
        return;
    }
    if (end) r.wake_at(*end);
}

bool to_be_undone(const BranchState& b) {
    return b.may_have_run && b.compensate.status != BranchStatus::succeed;
}

// An action still in flight is waited for (D21): its call ends by its timeout at the latest.
bool undo(Round& r, std::uint32_t branch) {
    return !r.state().branches[branch].action.in_flight && r.attempt(branch, Op::compensate);
}

bool undo_one_after_the_other(Round& r) {
    for (auto i = static_cast<std::uint32_t>(r.state().branches.size()); i-- > 0;)
        if (to_be_undone(r.state().branches[i]) && !undo(r, i)) return false;
    return true;
}

// A step is undone when all that were built upon it are undone or never started.
bool undo_against_orders(Round& r) {
    const std::vector<BranchState>& branches = r.state().branches;
    const auto count = static_cast<std::uint32_t>(branches.size());
    std::vector<bool> carries(count);
    bool all = false;
    for (bool again = true; again;) {
        again = false;
        all = true;
        std::fill(carries.begin(), carries.end(), false);
        for (std::uint32_t i = 0; i < count; ++i)
            if (to_be_undone(branches[i]))
                for (const std::uint32_t predecessor : r.request.branches[i].after)
                    carries[predecessor] = true;
        for (std::uint32_t i = count; i-- > 0;) {
            if (!to_be_undone(branches[i])) continue;
            // A compensation without a URL releases its predecessors within this round.
            if (!carries[i] && undo(r, i))
                again = true;
            else
                all = false;
        }
    }
    return all;
}

void backward(Round& r) {
    const bool all =
        r.request.options.concurrent ? undo_against_orders(r) : undo_one_after_the_other(r);
    if (all) r.move(Trigger::all_compensated);
}

}  // namespace

void run_saga(Round& r, const Answer* answer) {
    if (answer && answer->op == Op::action) take_action_answer(r, *answer);
    if (answer && answer->op == Op::compensate) r.insist(*answer);
    if (r.state().status == Status::submitted) forward(r);
    if (r.state().status == Status::aborting) backward(r);
}

}  // namespace dtm::core
