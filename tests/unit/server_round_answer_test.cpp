// What a client hears that waits for the first round: table 1.5.4 of dtm-compat.md for every type,
// with D10 (kept) and D11 (not repeated).
#include "core_testkit.hpp"
#include "server/round_answer.hpp"

namespace dtm::server {
namespace {

using core::Command;
using core::Result;
using core::Status;
using T = core::TransType;
using Kind = wire::ApiOutcome::Kind;

constexpr T kWaiting[] = {T::saga, T::msg, T::tcc, T::xa};
const std::string kNoSuccess = "wait result not return success: FAILURE";

RoundEnd end_of(T type, Status status, core::Outcome last = {Result::success, {}, {}}) {
    RoundEnd end;
    end.gid = "g";
    end.type = type;
    end.status = status;
    end.last = std::move(last);
    return end;
}

// The whole answer: HTTP status and message.
std::string answer(Command command, const RoundEnd& end) {
    const wire::ApiOutcome outcome = round_answer(command, end);
    return std::to_string(wire::http_status(outcome.kind)) + " " + outcome.message;
}
std::string submit(const RoundEnd& end) { return answer(Command::submit, end); }
std::string abort(const RoundEnd& end) { return answer(Command::abort, end); }

TEST(RoundAnswer, SubmitThatSucceeded) {
    for (const T type : kWaiting) {
        EXPECT_EQ(submit(end_of(type, Status::succeed)), "200 ") << type;
        // What went wrong on the way is forgotten.
        EXPECT_EQ(submit(end_of(type, Status::succeed, {Result::error, "once", {}})), "200 ");
        EXPECT_EQ(submit(end_of(type, Status::succeed, {Result::ongoing, "once", {}})), "200 ");
    }
}

TEST(RoundAnswer, SubmitThatWasRolledBack) {
    for (const T type : kWaiting) {
        for (const Status status : {Status::aborting, Status::failed}) {
            RoundEnd end = end_of(type, status, {Result::error, "a compensation", {}});
            end.rollback_reason = "no money";
            EXPECT_EQ(submit(end), "409 no money FAILURE") << type;
            end.rollback_reason = "no money FAILURE";
            EXPECT_EQ(submit(end), "409 no money FAILURE") << type;
            end.rollback_reason = "FAILURE of the bank";
            EXPECT_EQ(submit(end), "409 FAILURE of the bank FAILURE") << type;
        }
        EXPECT_EQ(submit(end_of(type, Status::failed)), "409 " + kNoSuccess) << type;
        EXPECT_EQ(submit(end_of(type, Status::failed, {Result::error, "x", {}})),
                  "409 " + kNoSuccess)
            << type;
    }
}

// D10: dtm's answer, though the saga goes on.
TEST(RoundAnswer, SubmitOfASagaThatIsNotFinished) {
    for (const Result result : {Result::success, Result::ongoing, Result::error, Result::deferred})
        EXPECT_EQ(submit(end_of(T::saga, Status::submitted, {result, "why", {}})),
                  "409 " + kNoSuccess)
            << core::to_string(result);
}

TEST(RoundAnswer, SubmitOfAMessageThatIsNotFinished) {
    const auto said = [](Result result, const char* reason) {
        return submit(end_of(T::msg, Status::submitted, {result, reason, {}}));
    };
    EXPECT_EQ(said(Result::ongoing, "why"), "409 " + kNoSuccess);  // D10
    EXPECT_EQ(said(Result::success, ""), "409 " + kNoSuccess);     // it waits for its delay
    EXPECT_EQ(said(Result::error, "out of order"), "500 it will be tried again: out of order");
    EXPECT_EQ(said(Result::error, ""),
              "500 it will be tried again: the transaction is not finished");
    EXPECT_EQ(said(Result::deferred, "host is paused"),
              "500 it will be tried again: host is paused");
    // D11: dtm says 409 with the branch's own words.
    EXPECT_EQ(said(Result::failure, R"({"dtm_result":"FAILURE"} FAILURE)"),
              R"(500 it will be tried again: {"dtm_result":"refused"} refused)");
}

TEST(RoundAnswer, SecondPhaseThatIsNotFinished) {
    struct Case {
        Command command;
        Status status;
    };
    for (const T type : {T::tcc, T::xa}) {
        for (const auto& [command, status] :
             {Case{Command::submit, Status::submitted}, Case{Command::abort, Status::aborting}}) {
            SCOPED_TRACE(std::string(to_string(type)) + " " + std::string(to_string(status)));
            const auto said = [&](Result result, const char* reason) {
                return answer(command, end_of(type, status, {result, reason, {}}));
            };
            EXPECT_EQ(said(Result::ongoing, "why"), "425 ONGOING");
            EXPECT_EQ(said(Result::error, "down"), "500 it will be tried again: down");
            EXPECT_EQ(said(Result::deferred, "paused"), "500 it will be tried again: paused");
            EXPECT_EQ(said(Result::success, ""),
                      "500 it will be tried again: the transaction is not finished");
            EXPECT_EQ(said(Result::failure, "no FAILURE"),
                      "500 it will be tried again: no refused");
            EXPECT_EQ(said(Result::failure, "FAILUREFAILURE"),
                      "500 it will be tried again: refusedrefused");
        }
    }
}

TEST(RoundAnswer, AbortThatIsDone) {
    for (const T type : {T::msg, T::tcc, T::xa}) {
        for (const Status status : {Status::failed, Status::succeed}) {
            RoundEnd end = end_of(type, status, {Result::error, "once", {}});
            EXPECT_EQ(abort(end), "200 ") << type;
            end.rollback_reason = "the client said so";  // which is no fault of the abort
            EXPECT_EQ(abort(end), "200 ") << type;
        }
    }
    RoundEnd end = end_of(T::tcc, Status::aborting, {Result::ongoing, "why", {}});
    end.rollback_reason = "the client said so";
    EXPECT_EQ(abort(end), "425 ONGOING");
}

// 1.2: a client looks for the word in the whole text of a success, and of a failure that may be
// tried again it must not be found either.
TEST(RoundAnswer, TheWordMeansThatItFailed) {
    constexpr Result all[] = {Result::success, Result::failure, Result::ongoing, Result::error,
                              Result::deferred};
    for (const Command command : {Command::submit, Command::abort}) {
        for (const T type : kWaiting) {
            for (const Status status :
                 {Status::submitted, Status::aborting, Status::succeed, Status::failed}) {
                for (const Result result : all) {
                    const auto outcome =
                        round_answer(command, end_of(type, status, {result, "FAILURE", {}}));
                    const bool there =
                        wire::outcome_json(outcome).find("FAILURE") != std::string::npos;
                    EXPECT_EQ(there, outcome.kind == Kind::failure)
                        << type << " " << status << " " << core::to_string(result) << " "
                        << outcome.message;
                }
            }
        }
    }
}

}  // namespace
}  // namespace dtm::server
