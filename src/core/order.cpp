// The order in which the branches of a transaction are called, as a question about one of them:
// what stands before it? Knows neither times nor answers; a branch whose turn it is may still wait
// for those. What the types' own files do in this order is compared with it by a test.
#include "core/round.hpp"

#include <algorithm>

namespace dtm::core {
namespace {

bool is_open(const Request& request, const BranchState& b, Op op) {
    if (op == Op::action) return b.action.status != BranchStatus::succeed;
    return is_undone(request, b) && b.compensate.status != BranchStatus::succeed;
}

}  // namespace

bool from_the_last(TransType type, Op op) {
    return type == TransType::tcc || (type == TransType::saga && op == Op::compensate);
}

bool released_by_orders(const Request& request, const State& state, std::uint32_t branch, Op op) {
    const auto open = [&](std::uint32_t i) { return is_open(request, state.branches[i], op); };
    if (op == Op::action) return std::ranges::none_of(request.branches[branch].after, open);
    for (std::uint32_t i = 0; i < state.branches.size(); ++i) {
        if (open(i) && std::ranges::count(request.branches[i].after, branch) > 0) return false;
    }
    return true;
}

std::vector<std::uint32_t> waits_for(const Request& request, const State& state,
                                     std::uint32_t branch, Op op) {
    const auto count = static_cast<std::uint32_t>(state.branches.size());
    const std::vector<std::uint32_t>& after = request.branches[branch].after;
    std::vector<std::uint32_t> open;
    const auto add = [&](std::uint32_t i) {
        if (is_open(request, state.branches[i], op)) open.push_back(i);
    };
    if (!request.options.concurrent) {
        const bool backward = from_the_last(request.type, op);
        const std::uint32_t end = backward ? count : branch;
        for (std::uint32_t i = backward ? branch + 1 : 0; i < end; ++i) add(i);
    } else if (op == Op::action) {
        std::ranges::for_each(after, add);
    } else {
        for (std::uint32_t i = 0; i < count; ++i) {
            if (std::ranges::count(request.branches[i].after, branch) > 0) add(i);
        }
    }
    return open;
}

}  // namespace dtm::core
