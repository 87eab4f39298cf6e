// When something is tried again, and when it is given up: the arithmetic of dtm-compat.md 5.10.
// Knows no clock, every instant comes in as a value. Survives absurd options: nothing overflows,
// and no interval is ever zero.
#include "core/round.hpp"

namespace dtm::core {
namespace {

// A workflow has nobody but its client to move it on, and dtm calls that one in every interval,
// however long it was away (D34). Whoever restarts his service counts on being called soon: backing
// off must not grow to an hour here.
constexpr int longest_of_workflow = 6;  // base intervals

// base * 2^errors without jitter. A base above the cap is what its submitter asked for and stays.
Seconds interval(const Request& request, std::uint32_t errors, const Policy& policy) {
    Seconds wait = base_interval(request, policy);
    Seconds cap = std::max(bounded(policy.max_retry_interval), wait);
    if (request.type == TransType::workflow) cap = std::min(cap, wait * longest_of_workflow);
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
    const bool awaits_client = request.type == TransType::msg || is_two_phase(request.type);
    if (awaits_client && status == Status::prepared)
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
        if (state.status == Status::aborting && is_undone(request, b)) open(b.compensate);
    }
    return interval(request, errors, policy);
}

}  // namespace dtm::core
