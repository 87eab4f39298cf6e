// Promises that every enumerator has one spelling, dtm's, in both directions. Knows nothing but the
// enumerators. Survives an unknown spelling by saying so instead of guessing.
#include "core/types.hpp"

#include <array>

namespace dtm::core {
namespace {

using namespace std::string_view_literals;

constexpr std::array kTransTypes{"msg"sv, "saga"sv, "tcc"sv, "xa"sv, "workflow"sv};
constexpr std::array kStatuses{"prepared"sv, "submitted"sv, "aborting"sv, "succeed"sv, "failed"sv};
constexpr std::array kBranchStatuses{"prepared"sv, "succeed"sv, "failed"sv};
constexpr std::array kOps{"action"sv, "compensate"sv, "msg"sv};
constexpr std::array kResults{"SUCCESS"sv, "FAILURE"sv, "ONGOING"sv, "ERROR"sv};

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

std::string_view to_string(TransType t) { return name(kTransTypes, t); }
std::string_view to_string(Status s) { return name(kStatuses, s); }
std::string_view to_string(BranchStatus s) { return name(kBranchStatuses, s); }
std::string_view to_string(Op op) { return name(kOps, op); }
std::string_view to_string(Result r) { return name(kResults, r); }

std::optional<TransType> parse_trans_type(std::string_view text) {
    return parse<TransType>(kTransTypes, text);
}
std::optional<Status> parse_status(std::string_view text) { return parse<Status>(kStatuses, text); }

}  // namespace dtm::core
