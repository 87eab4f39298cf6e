// See settlement.hpp.
#include "worker/settlement.hpp"

#include "core/decide.hpp"
#include "hub/settings.hpp"
#include "store/registered.hpp"
#include "wire/stored.hpp"

#include <algorithm>

namespace dtm::worker {
namespace {

// Every action was called once and succeeded, and the row still says so by saying nothing.
bool is_clean_success(const Active& a) {
    if (a.state.status != core::Status::succeed || a.state.query.attempts != 0) return false;
    return std::all_of(a.state.branches.begin(), a.state.branches.end(), [](const auto& b) {
        return b.action.attempts <= 1 && b.action.status == core::BranchStatus::succeed;
    });
}

// Of tcc and xa nothing is called before the decision is in the row, and until then branches that
// are not known here may be registered: there is nothing to say.
bool is_undecided(const Active& a) {
    return a.state.outdated ||
           (core::is_two_phase(a.request->type) && a.state.status == core::Status::prepared);
}

std::optional<std::string> last_error(const core::State& state) {
    const core::OpState* worst = nullptr;
    const auto look = [&](const core::OpState& op) {
        const bool open =
            op.status != core::BranchStatus::succeed && (!op.last_answer.empty() || op.kept_back);
        if (open && (worst == nullptr || op.errors > worst->errors)) worst = &op;
    };
    for (const auto& b : state.branches) {
        look(b.action);
        look(b.compensate);
    }
    look(state.query);
    return worst == nullptr ? std::nullopt : std::optional(core::last_word(*worst));
}

}  // namespace

store::Settlement settlement_of(const Active& a) {
    const core::Policy policy = hub::policy();
    store::Settlement s;
    s.gid = a.gid();
    s.version = a.version;
    s.status = a.state.status;
    for (const auto& b : a.state.branches) {
        s.attempts += static_cast<std::int32_t>(b.action.attempts + b.compensate.attempts);
    }
    s.attempts += static_cast<std::int32_t>(a.state.query.attempts);
    s.clean_success = a.silent && is_clean_success(a);
    if (s.clean_success) return s;
    if (!is_undecided(a)) s.progress = wire::encode_progress(a.state);
    s.interval_s =
        static_cast<std::int32_t>(core::current_interval(*a.request, a.state, policy).count());
    s.due = core::next_due(*a.request, a.state, policy);
    s.last_error = last_error(a.state);
    if (!a.state.rollback_reason.empty()) s.rollback_reason = a.state.rollback_reason;
    return s;
}

}  // namespace dtm::worker
