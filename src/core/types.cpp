// Promises that every enumerator has one spelling, dtm's, in both directions. Knows nothing but the
// enumerators. Survives an unknown spelling by saying so instead of guessing.
#include "core/types.hpp"

#include <array>

namespace dtm::core {
namespace {

using namespace std::string_view_literals;

constexpr std::array trans_types{"msg"sv, "saga"sv, "tcc"sv, "xa"sv, "workflow"sv};
constexpr std::array statuses{"prepared"sv, "submitted"sv, "aborting"sv, "succeed"sv, "failed"sv};
constexpr std::array branch_statuses{"prepared"sv, "succeed"sv, "failed"sv};
constexpr std::array ops{"action"sv, "compensate"sv, "msg"sv};
constexpr std::array results{"SUCCESS"sv, "FAILURE"sv, "ONGOING"sv, "ERROR"sv, "DEFERRED"sv};
constexpr std::array holds{"pause"sv, "breaker"sv, "crowd"sv};

template <typename Enum, std::size_t N>
std::string_view name(const std::array<std::string_view, N>& names, Enum e) {
    const auto i = static_cast<std::size_t>(e);
    return i < N ? names[i] : "?"sv;
}

template <typename Enum, std::size_t N>
std::optional<Enum> parse(const std::array<std::string_view, N>& names, std::string_view text) {
    for (std::size_t i = 0; i < N; ++i)
        if (names[i] == text) return static_cast<Enum>(i);
    return std::nullopt;
}

}  // namespace

std::string_view to_string(TransType t) { return name(trans_types, t); }
std::string_view to_string(Status s) { return name(statuses, s); }
std::string_view to_string(BranchStatus s) { return name(branch_statuses, s); }
std::string_view to_string(Op op) { return name(ops, op); }
std::string_view to_string(Result r) { return name(results, r); }
std::string_view to_string(Hold h) { return name(holds, h); }

std::optional<TransType> parse_trans_type(std::string_view text) {
    return parse<TransType>(trans_types, text);
}
std::optional<Status> parse_status(std::string_view text) { return parse<Status>(statuses, text); }
std::optional<Hold> parse_hold(std::string_view text) { return parse<Hold>(holds, text); }

}  // namespace dtm::core
