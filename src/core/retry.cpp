// When something is tried again, and when it is given up: the arithmetic of dtm-compat.md 5.10.
// Knows no clock, every instant comes in as a value. Survives absurd options: nothing overflows,
// and no interval is ever zero.
#include "core/round.hpp"

namespace dtm::core {
namespace {

// base * 2^errors without jitter. A base above the cap is what its submitter asked for and stays.
Seconds interval(const Request& request, std::uint32_t errors, const Policy& policy) {
    Seconds wait = base_interval(request, policy);
    const Seconds cap = std::max(bounded(policy.max_retry_interval), wait);
    for (; errors > 0 && wait < cap; --errors) wait *= 2;
    return std::min(wait, cap);
}

// FNV-1a with splitmix64's finaliser: the same everywhere and for ever, which std::hash is not.
std::uint64_t mixed(const Request& request, std::uint32_t branch, Op op, std::uint32_t errors) {
    std::uint64_t h = 14695981039346656037ULL;
    const auto feed = [&h](std::uint64_t value) { h = (h ^ value) * 1099511628211ULL; };
    for (const char c : request.gid) feed(static_cast<unsigned char>(c));
    feed(branch);
    feed(static_cast<std::uint64_t>(op));
    feed(errors);
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    return h ^ (h >> 31);
}

// nullopt where the type and status cannot time out (dtm-compat.md 5.10.1).
std::optional<Seconds> effective_timeout(const Request& request, Status status,
                                         const Policy& policy) {
    const Seconds own = bounded(request.options.timeout_to_fail);
    if (request.type == TransType::saga && status == Status::submitted && own > Seconds{0})
        return own;
    if (request.type == TransType::msg && status == Status::prepared)
        return own > Seconds{0} ? own : bounded(policy.timeout_to_fail);
    return std::nullopt;
}

}  // namespace

Seconds base_interval(const Request& request, const Policy& policy) {
    const Seconds server = std::max(bounded(policy.retry_interval), Seconds{1});
    const Seconds own = bounded(request.options.retry_interval);
    if (own > Seconds{0}) return own;
    const Seconds timeout = bounded(request.options.timeout_to_fail);
    return timeout > Seconds{0} && timeout < server ? timeout : server;
}

Micros backoff(const Request& request, std::uint32_t branch, Op op, std::uint32_t errors,
               const Policy& policy) {
    const Micros wait = interval(request, errors, policy);
    const auto tenth = static_cast<std::uint64_t>(wait.count() / 10);
    const std::uint64_t jitter = mixed(request, branch, op, errors) % (tenth + 1);
    return wait + Micros{static_cast<std::int64_t>(jitter)};
}

std::optional<Time> deadline(const Request& request, const State& state, const Policy& policy) {
    const auto timeout = effective_timeout(request, state.status, policy);
    if (!timeout) return std::nullopt;
    return state.create_time + *timeout;
}

Seconds current_interval(const Request& request, const State& state, const Policy& policy) {
    std::uint32_t errors = 0;
    const auto open = [&errors](const OpState& op) {
        if (op.status == BranchStatus::prepared) errors = std::max(errors, op.errors);
    };
    if (state.status == Status::prepared) open(state.query);
    for (const BranchState& b : state.branches) {
        if (state.status == Status::submitted) open(b.action);
        if (state.status == Status::aborting && b.may_have_run) open(b.compensate);
    }
    return interval(request, errors, policy);
}

}  // namespace dtm::core
