// See round_answer.hpp.
#include "server/round_answer.hpp"

namespace dtm::server {
namespace {

using Kind = wire::ApiOutcome::Kind;

wire::ApiOutcome failure(std::string reason) {
    constexpr std::string_view word = "FAILURE";
    if (!reason.ends_with(word)) reason.append(" ").append(word);
    return {Kind::failure, std::move(reason)};
}

// The transaction goes on, so the word that means "it failed" must not be in the answer (D11).
std::string without_the_word(std::string text) {
    constexpr std::string_view word = "FAILURE", instead = "refused";
    for (std::size_t at = 0; (at = text.find(word, at)) != text.npos;) {
        text.replace(at, word.size(), instead);
    }
    return text;
}

wire::ApiOutcome unfinished(const RoundEnd& end) {
    if (end.last.result == core::Result::ongoing) return {Kind::ongoing, "ONGOING"};
    std::string reason = without_the_word(end.last.reason);
    if (reason.empty()) reason = "the transaction is not finished";
    return {Kind::error, "it will be tried again: " + reason};
}

}  // namespace

wire::ApiOutcome round_answer(core::Command command, const RoundEnd& end) {
    if (command == core::Command::abort) {
        return core::is_final(end.status) ? wire::ApiOutcome{} : unfinished(end);
    }
    if (end.status == core::Status::succeed) return {};
    if (!end.rollback_reason.empty()) return failure(end.rollback_reason);
    const bool refused_by_all_means = core::is_final(end.status);
    if (core::is_two_phase(end.type) && !refused_by_all_means) return unfinished(end);
    // dtm says so of a message whose branch had trouble, too, but of one that is ONGOING (D10).
    const bool trouble =
        end.last.result != core::Result::success && end.last.result != core::Result::ongoing;
    if (end.type == core::TransType::msg && trouble && !refused_by_all_means) {
        return unfinished(end);
    }
    return {Kind::failure, "wait result not return success: FAILURE"};
}

}  // namespace dtm::server
