// waits_for() says of every small transaction what decide() does: called is what waits for nobody.
#include "core_testkit.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace dtm::core::test {
namespace {

constexpr int kBranches = 3;

// Whether the branches can be called in some order.
bool is_possible(const Request& request) {
    std::vector<std::uint32_t> order = {0, 1, 2};
    do {
        std::vector<bool> done(kBranches);
        const bool fits = std::ranges::all_of(order, [&](std::uint32_t i) {
            done[i] = true;
            return std::ranges::all_of(request.branches[i].after,
                                       [&](std::uint32_t p) { return done[p]; });
        });
        if (fits) return true;
    } while (std::ranges::next_permutation(order).found);
    return false;
}

// All orders without a cycle; where branches are called one after the other, of earlier ones only.
void for_each_order(Request request, const std::function<void(const Request&)>& check) {
    if (request.type != TransType::saga) return check(request);
    constexpr std::pair<std::uint32_t, std::uint32_t> edges[] = {{0, 1}, {0, 2}, {1, 2},
                                                                 {1, 0}, {2, 0}, {2, 1}};
    for (unsigned chosen = 0; chosen < 1U << std::size(edges); ++chosen) {
        bool backward = false;
        for (Branch& b : request.branches) b.after.clear();
        for (std::size_t e = 0; e < std::size(edges); ++e) {
            if ((chosen >> e & 1U) == 0) continue;
            const auto [first, second] = edges[e];
            request.branches[second].after.push_back(first);
            backward = backward || first > second;
        }
        if (request.options.concurrent ? is_possible(request) : !backward) check(request);
    }
}

void for_each_request(const std::function<void(const Request&)>& check) {
    for (const Request& request : {saga(kBranches), concurrent(saga(kBranches)), msg(kBranches),
                                   concurrent(msg(kBranches)), tcc(kBranches), xa(kBranches)})
        for_each_order(request, check);
}

std::string calls_of(const Request& request, const State& state) {
    std::string text;
    for (const Call& c : decide(request, state, Timer{}, kStart, {}).calls)
        text += std::to_string(c.branch) + " ";
    return text;
}

// `is_open`: bit i of branch i.
std::string whose_turn(const Request& request, const State& state, unsigned is_open, Op op) {
    std::string text;
    for (std::uint32_t i = 0; i < kBranches; ++i)
        if ((is_open >> i & 1U) != 0 && waits_for(request, state, i, op).empty())
            text += std::to_string(i) + " ";
    return text;
}

std::string sorted(std::string text) {
    std::ranges::sort(text);
    return text;
}

TEST(CoreOrder, ActionsThatWaitForNobodyAreCalled) {
    int compared = 0;
    for_each_request([&](const Request& request) {
        for (unsigned open = 1; open < 1U << kBranches; ++open) {
            State state = initial_state(request, Status::submitted, kStart);
            for (std::uint32_t i = 0; i < kBranches; ++i)
                if ((open >> i & 1U) == 0) state.branches[i].action.status = BranchStatus::succeed;
            EXPECT_EQ(sorted(calls_of(request, state)),
                      sorted(whose_turn(request, state, open, Op::action)))
                << request.type << " " << open;
            ++compared;
        }
    });
    EXPECT_GT(compared, 200);
}

// Open is also what never ran: nothing of a saga waits for that.
TEST(CoreOrder, CompensationsThatWaitForNobodyAreCalled) {
    int compared = 0;
    for_each_request([&](const Request& request) {
        if (request.type == TransType::msg) return;
        for (unsigned ran = 0; ran < 1U << kBranches; ++ran) {
            for (unsigned undone = 0; undone < 1U << kBranches; ++undone) {
                State state = initial_state(request, Status::aborting, kStart);
                unsigned open = 0;
                for (std::uint32_t i = 0; i < kBranches; ++i) {
                    BranchState& b = state.branches[i];
                    b.may_have_run = (ran >> i & 1U) != 0;
                    if ((undone >> i & 1U) != 0) b.compensate.status = BranchStatus::succeed;
                    if ((undone >> i & 1U) == 0 && is_undone(request, b)) open |= 1U << i;
                }
                EXPECT_EQ(sorted(calls_of(request, state)),
                          sorted(whose_turn(request, state, open, Op::compensate)))
                    << request.type << " " << ran << " " << undone;
                ++compared;
            }
        }
    });
    EXPECT_GT(compared, 1000);
}

TEST(CoreOrder, NamesWhatStandsBefore) {
    const auto of = [](const Request& request, Status status, std::uint32_t branch, Op op) {
        State state = recovered_fresh_state(request, status, kStart);
        return waits_for(request, state, branch, op);
    };
    using Branches = std::vector<std::uint32_t>;
    EXPECT_EQ(of(saga(3), Status::submitted, 2, Op::action), (Branches{0, 1}));
    EXPECT_EQ(of(saga(3), Status::aborting, 0, Op::compensate), (Branches{1, 2}));
    EXPECT_EQ(of(tcc(3), Status::submitted, 0, Op::action), (Branches{1, 2}));
    EXPECT_EQ(of(tcc(3), Status::aborting, 0, Op::compensate), (Branches{1, 2}));
    EXPECT_EQ(of(xa(3), Status::submitted, 2, Op::action), (Branches{0, 1}));
    EXPECT_EQ(of(xa(3), Status::aborting, 2, Op::compensate), (Branches{0, 1}));
    EXPECT_EQ(of(concurrent(saga(3)), Status::submitted, 2, Op::action), Branches{});
    Request ordered = concurrent(saga(3));
    ordered.branches[0].after = {2};
    EXPECT_EQ(of(ordered, Status::submitted, 0, Op::action), Branches{2});
    EXPECT_EQ(of(ordered, Status::aborting, 2, Op::compensate), Branches{0});
}

}  // namespace
}  // namespace dtm::core::test
