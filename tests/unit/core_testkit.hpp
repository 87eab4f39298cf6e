// A transaction in the hands of a test: feeds decide() and remembers what it said, in short words.
// "A1" is the action (confirm, commit) of branch 1, "C1" its compensation (cancel, rollback), "Q"
// the query.
#pragma once

#include "core/decide.hpp"
#include "core/machine.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace dtm::core {

inline std::ostream& operator<<(std::ostream& os, Status s) { return os << to_string(s); }
inline std::ostream& operator<<(std::ostream& os, TransType t) { return os << to_string(t); }
inline std::ostream& operator<<(std::ostream& os, Trigger t) { return os << to_string(t); }
inline std::ostream& operator<<(std::ostream& os, Write w) {
    return os << (w == Write::none ? "none" : w == Write::lazy ? "lazy" : "flush");
}

}  // namespace dtm::core

namespace dtm::core::test {

constexpr Time kStart{Seconds{1'000'000}};

inline Request make_request(TransType type, int branches) {
    Request r;
    r.gid = "gid";
    r.type = type;
    for (int i = 1; i <= branches; ++i) {
        Branch b;
        b.branch_id = "0" + std::to_string(i);
        b.action = "http://p/a" + std::to_string(i);
        if (type != TransType::msg) b.compensate = "http://p/c" + std::to_string(i);
        b.step = static_cast<std::uint32_t>(i - 1);
        r.branches.push_back(b);
        r.payloads.emplace_back("{}");
    }
    return r;
}

inline Request saga(int branches) { return make_request(TransType::saga, branches); }
inline Request msg(int branches) { return make_request(TransType::msg, branches); }
inline Request tcc(int branches) { return make_request(TransType::tcc, branches); }
inline Request xa(int branches) { return make_request(TransType::xa, branches); }
inline Request concurrent(Request r) {
    r.options.concurrent = true;
    return r;
}

class Drive {
public:
    explicit Drive(Request r, Status status = Status::submitted)
        : request(std::move(r)), state(initial_state(request, status, kStart)) {}

    // As after a restart: what an earlier life did to the fresh row is unknown.
    static Drive recovered(Request r, Status status = Status::submitted) {
        Drive run(std::move(r), status);
        run.state = recovered_fresh_state(run.request, status, kStart);
        return run;
    }

    std::string load() { return feed(Loaded{}); }
    std::string load_due() { return feed(Loaded{true}); }
    std::string hurry() { return feed(Hurry{}); }
    std::string timer(Seconds after_start) {
        now = kStart + after_start;
        return feed(Timer{});
    }
    std::string answer(std::string_view call, Result result, std::string reason = {}) {
        const Call c = parse(call);
        return feed(Answer{c.branch, c.op, {result, std::move(reason)}});
    }
    std::string ok(std::string_view call) { return answer(call, Result::success); }
    std::string failure(std::string_view call) { return answer(call, Result::failure, "no"); }
    std::string ongoing(std::string_view call) { return answer(call, Result::ongoing, "wait"); }
    std::string error(std::string_view call) { return answer(call, Result::error, "boom"); }
    std::string deferred(std::string_view call, Seconds until_after_start) {
        const Call c = parse(call);
        const Time until = kStart + until_after_start;
        return feed(Answer{c.branch, c.op, {Result::deferred, "kept back", until, Hold::breaker}});
    }

    // The coordinator dies with its memory. `stored` is the last state a write carried.
    void crash(State stored) {
        for (BranchState& b : stored.branches) b.action.in_flight = b.compensate.in_flight = false;
        stored.query.in_flight = false;
        state = std::move(stored);
    }

    // dtm's list: compensate (cancel, rollback), action (confirm, commit) per branch; for a message
    // the actions.
    std::string rows() const {
        std::string text;
        for (const BranchState& b : state.branches) {
            if (request.type != TransType::msg)
                text += std::string(to_string(b.compensate.status)) + ", ";
            text += std::string(to_string(b.action.status)) + ", ";
        }
        return text.substr(0, text.size() - 2);
    }
    Status status() const { return state.status; }
    OpState& op(std::string_view name) {
        const Call c = parse(name);
        if (c.op == Op::query) return state.query;
        BranchState& b = state.branches[c.branch];
        return c.op == Op::action ? b.action : b.compensate;
    }
    // Seconds from the start until the wake-up, -1 without one.
    double wake() const {
        if (!last.wake) return -1;
        return std::chrono::duration<double>(*last.wake - kStart).count();
    }

    Request request;
    Policy policy;
    Time now = kStart;
    State state;
    Decision last;  // its state has moved to `state`

private:
    static Call parse(std::string_view name) {
        if (name == "Q") return {0, Op::query};
        return {static_cast<std::uint32_t>(std::stoul(std::string(name.substr(1))) - 1),
                name[0] == 'A' ? Op::action : Op::compensate};
    }
    // The calls of the decision, e.g. "A1 A2".
    std::string feed(const Event& event) {
        last = decide(request, std::move(state), event, now, policy);
        state = std::move(last.state);
        std::string text;
        for (const Call& c : last.calls) {
            if (!text.empty()) text += " ";
            text += c.op == Op::query
                        ? "Q"
                        : (c.op == Op::action ? "A" : "C") + std::to_string(c.branch + 1);
        }
        return text;
    }
};

}  // namespace dtm::core::test
