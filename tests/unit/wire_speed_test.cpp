// Not a test but a measurement, see net_speed_test.cpp: what one transaction costs in this room.
#include "wire/branch_call.hpp"
#include "wire/request.hpp"
#include "wire/stored.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

namespace {

using namespace dtm;
using namespace dtm::wire;

template <typename Work>
void measure(const char* name, Work work) {
    constexpr int rounds = 200000;
    const auto start = std::chrono::steady_clock::now();
    std::size_t bytes = 0;
    for (int i = 0; i < rounds; ++i) bytes += work();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("%-18s %6.2f us, %8.0f /s  (%zu bytes)\n", name, elapsed.count() * 1e6 / rounds,
                rounds / elapsed.count(), bytes / rounds);
}

TEST(WireSpeed, DISABLED_TwoStepSaga) {
    const std::string body =
        R"({"gid":"gQ8vTjV3mCw5rYxkZ2bN7d","trans_type":"saga","concurrent":false,"steps":[)"
        R"({"action":"http://127.0.0.1:8081/api/busi/TransOut","compensate":"http://127.0.0.1:8081/api/busi/TransOutRevert"},)"
        R"({"action":"http://127.0.0.1:8081/api/busi/TransIn","compensate":"http://127.0.0.1:8081/api/busi/TransInRevert"}],)"
        R"("payloads":["{\"amount\":30,\"account\":\"A-100\",\"currency\":\"EUR\"}","{\"amount\":30,\"account\":\"B-200\",\"currency\":\"EUR\"}"],"protocol":""})";
    const auto request = std::make_shared<const core::Request>(parse_submit(body, {}));
    const std::string stored = encode_request(*request);
    core::State state;
    state.branches.resize(2);
    for (core::BranchState& branch : state.branches) {
        branch.may_have_run = true;
        branch.action.status = core::BranchStatus::succeed;
        branch.action.attempts = 1;
        branch.action.finished = core::Time(core::Micros(1763694000123456));
    }
    const std::string progress = encode_progress(state);
    measure("parse_submit", [&] { return parse_submit(body, {}).gid.size() * 0 + body.size(); });
    measure("encode_request", [&] { return encode_request(*request).size(); });
    measure("decode_request", [&] {
        return decode_request(request->gid, request->type, stored).branches.size() * 0 +
               stored.size();
    });
    measure("encode_progress", [&] { return encode_progress(state).size(); });
    measure("decode_progress", [&] {
        core::State read;
        decode_progress(*request, progress, read);
        return progress.size();
    });
    measure("branch_call",
            [&] { return branch_call(request, 1, core::Op::action, {}).url.size(); });
    measure("classify_http",
            [&] { return classify_http(200, R"({"dtm_result":"SUCCESS"})").reason.size(); });
}

}  // namespace
