// The table of edges: what is legal, and that nothing else is.
#include "core_testkit.hpp"

#include <map>
#include <tuple>

namespace dtm::core {
namespace {

using T = TransType;
using S = Status;
using On = Trigger;

// dtm-compat.md 5.1, written down once more by hand.
const std::map<std::tuple<T, S, On>, S> kLegal{
    {{T::msg, S::prepared, On::submit}, S::submitted},
    {{T::msg, S::prepared, On::query_success}, S::submitted},
    {{T::msg, S::prepared, On::query_failure}, S::failed},
    {{T::msg, S::prepared, On::abort}, S::failed},
    {{T::msg, S::prepared, On::force_stop}, S::failed},
    {{T::msg, S::submitted, On::all_succeeded}, S::succeed},
    {{T::msg, S::submitted, On::force_stop}, S::failed},
    {{T::saga, S::prepared, On::submit}, S::submitted},
    {{T::saga, S::prepared, On::force_stop}, S::failed},
    {{T::saga, S::submitted, On::all_succeeded}, S::succeed},
    {{T::saga, S::submitted, On::action_failure}, S::aborting},
    {{T::saga, S::submitted, On::timeout}, S::aborting},
    {{T::saga, S::submitted, On::retry_limit}, S::aborting},
    {{T::saga, S::submitted, On::force_stop}, S::failed},
    {{T::saga, S::aborting, On::all_compensated}, S::failed},
    {{T::saga, S::aborting, On::force_stop}, S::failed},
    {{T::tcc, S::prepared, On::submit}, S::submitted},
    {{T::tcc, S::prepared, On::abort}, S::aborting},
    {{T::tcc, S::prepared, On::timeout}, S::aborting},
    {{T::tcc, S::prepared, On::force_stop}, S::failed},
    {{T::tcc, S::submitted, On::all_succeeded}, S::succeed},
    {{T::tcc, S::submitted, On::force_stop}, S::failed},
    {{T::tcc, S::aborting, On::all_compensated}, S::failed},
    {{T::tcc, S::aborting, On::force_stop}, S::failed},
    {{T::xa, S::prepared, On::submit}, S::submitted},
    {{T::xa, S::prepared, On::abort}, S::aborting},
    {{T::xa, S::prepared, On::timeout}, S::aborting},
    {{T::xa, S::prepared, On::force_stop}, S::failed},
    {{T::xa, S::submitted, On::all_succeeded}, S::succeed},
    {{T::xa, S::submitted, On::force_stop}, S::failed},
    {{T::xa, S::aborting, On::all_compensated}, S::failed},
    {{T::xa, S::aborting, On::force_stop}, S::failed},
    {{T::workflow, S::prepared, On::finish_succeed}, S::succeed},
    {{T::workflow, S::prepared, On::finish_failed}, S::failed},
    {{T::workflow, S::prepared, On::force_stop}, S::failed},
};

TEST(Machine, EveryEdgeAndNoOther) {
    int refused = 0;
    for (int type = 0; type <= static_cast<int>(T::workflow); ++type)
        for (int from = 0; from <= static_cast<int>(S::failed); ++from)
            for (int trigger = 0; trigger <= static_cast<int>(On::force_stop); ++trigger) {
                const std::tuple key(static_cast<T>(type), static_cast<S>(from),
                                     static_cast<On>(trigger));
                const auto legal = kLegal.find(key);
                const auto got = std::apply(target, key);
                SCOPED_TRACE(testing::Message() << std::get<0>(key) << " " << std::get<1>(key)
                                                << " " << std::get<2>(key));
                if (legal != kLegal.end()) {
                    EXPECT_EQ(got, legal->second);
                } else {
                    EXPECT_EQ(got, std::nullopt);
                    ++refused;
                }
            }
    EXPECT_EQ(refused, 5 * 5 * 12 - static_cast<int>(kLegal.size()));
    EXPECT_EQ(transitions().size(), kLegal.size());
}

TEST(Machine, FinalStatusesHaveNoWayOut) {
    for (const Edge& e : transitions()) {
        EXPECT_FALSE(is_final(e.from));
        EXPECT_FALSE(e.why.empty());
    }
}

TEST(Machine, ForceStopEndsWhatIsUnfinishedAndRefusesTheRest) {
    const struct {
        T type;
        S from;
        bool stops;
    } cases[] = {
        {T::saga, S::prepared, true},     {T::saga, S::submitted, true},
        {T::saga, S::aborting, true},     {T::saga, S::succeed, false},
        {T::saga, S::failed, false},      {T::msg, S::prepared, true},
        {T::msg, S::submitted, true},     {T::msg, S::aborting, false},
        {T::msg, S::succeed, false},      {T::msg, S::failed, false},
        {T::tcc, S::prepared, true},      {T::tcc, S::submitted, true},
        {T::tcc, S::aborting, true},      {T::tcc, S::failed, false},
        {T::xa, S::prepared, true},       {T::xa, S::submitted, true},
        {T::xa, S::aborting, true},       {T::xa, S::succeed, false},
        {T::workflow, S::prepared, true}, {T::workflow, S::submitted, false},
        {T::workflow, S::succeed, false},
    };
    for (const auto& c : cases) {
        SCOPED_TRACE(testing::Message() << c.type << " " << c.from);
        const Request request = test::make_request(c.type, 2);
        State state = initial_state(request, c.from, test::kStart);
        const State before = state;
        EXPECT_EQ(force_stop(request, state), c.stops);
        if (c.stops) {
            EXPECT_EQ(state.status, S::failed);
            EXPECT_FALSE(state.durable_fresh);
        } else {
            EXPECT_EQ(state, before);
        }
    }
}

TEST(Machine, SpellingsAreDtms) {
    for (auto [type, name] : {std::pair{T::msg, "msg"},
                              {T::saga, "saga"},
                              {T::tcc, "tcc"},
                              {T::xa, "xa"},
                              {T::workflow, "workflow"}}) {
        EXPECT_EQ(to_string(type), name);
        EXPECT_EQ(parse_trans_type(name), type);
    }
    for (auto [status, name] : {std::pair{S::prepared, "prepared"},
                                {S::submitted, "submitted"},
                                {S::aborting, "aborting"},
                                {S::succeed, "succeed"},
                                {S::failed, "failed"}}) {
        EXPECT_EQ(to_string(status), name);
        EXPECT_EQ(parse_status(name), status);
    }
    EXPECT_EQ(parse_trans_type("Saga"), std::nullopt);
    EXPECT_EQ(parse_status(""), std::nullopt);
    EXPECT_EQ(to_string(Op::query), "msg");
    EXPECT_EQ(to_string(Op::compensate), "compensate");
    EXPECT_EQ(to_string(Result::failure), "FAILURE");
}

TEST(Machine, ChartShowsEveryStatusChange) {
    const std::string chart = mermaid_chart();
    EXPECT_NE(
        chart.find("saga_submitted --> saga_aborting : action_failure / timeout / retry_limit"),
        std::string::npos);
    EXPECT_NE(chart.find("msg_prepared --> msg_submitted : submit / query_success"),
              std::string::npos);
    EXPECT_EQ(chart.find("msg_aborting"), std::string::npos);
    EXPECT_NE(chart.find("tcc_prepared --> tcc_aborting : timeout / abort"), std::string::npos);
    EXPECT_NE(chart.find("workflow_prepared --> workflow_succeed : finish_succeed"),
              std::string::npos);
    EXPECT_EQ(chart.find("workflow_submitted"), std::string::npos);
}

}  // namespace
}  // namespace dtm::core
