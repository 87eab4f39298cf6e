// The vocabulary of dtm_pg: what a global transaction is, without saying where it is stored or who
// calls its branches. Spellings of all enumerators are dtm's own (dtm-compat.md 5.1), so a name can
// be printed as it is. Knows no clock, no network, no database.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::core {

// Instants are microseconds of the database clock; who reads that clock is not core's business.
using Micros = std::chrono::microseconds;
using Seconds = std::chrono::seconds;
using Time = std::chrono::time_point<std::chrono::system_clock, Micros>;

enum class TransType : std::uint8_t { msg, saga, tcc, xa, workflow };
enum class Status : std::uint8_t { prepared, submitted, aborting, succeed, failed };
enum class BranchStatus : std::uint8_t { prepared, succeed, failed };

// The operations a coordinator calls, by what they are for: `action` brings a branch forward (a
// saga's and a message's action, confirm, commit), `compensate` takes it back (compensate, cancel,
// rollback), `query` asks the client what became of it (a message's query-prepared, a workflow's
// callback; branch 00). wire::op_name() has their names on the wire (dtm-compat.md 4.5).
enum class Op : std::uint8_t { action, compensate, query };

// What an answer of a branch means (dtm-compat.md 4.6); `error` is every temporary or unknown
// outcome. `deferred` is no answer at all: the call did not leave this machine (host paused,
// circuit breaker open).
enum class Result : std::uint8_t { success, failure, ongoing, error, deferred };

// Why a call that is due is kept back: an operator said so, its host does not answer, or its host
// is slow and has enough to do.
enum class Hold : std::uint8_t { pause, breaker, crowd };

std::string_view to_string(TransType);
std::string_view to_string(Status);
std::string_view to_string(BranchStatus);
std::string_view to_string(Op);
std::string_view to_string(Result);
std::string_view to_string(Hold);
std::optional<TransType> parse_trans_type(std::string_view);
std::optional<Status> parse_status(std::string_view);
std::optional<Hold> parse_hold(std::string_view);

constexpr bool is_final(Status s) { return s == Status::succeed || s == Status::failed; }

// The client calls the branches first; the second phase is ours.
constexpr bool is_two_phase(TransType t) { return t == TransType::tcc || t == TransType::xa; }
// Branches are registered one by one; a workflow's are steps that its client has done.
constexpr bool has_registered(TransType t) { return is_two_phase(t) || t == TransType::workflow; }
// All calls are listed when it is submitted.
constexpr bool lists_steps(TransType t) { return !has_registered(t); }

struct Outcome {
    Result result = Result::error;
    std::string reason;  // for people: the body of the answer or the transport's error
    std::optional<Time> not_before{};  // deferred: when it may leave at the earliest
    Hold hold = Hold::pause;           // deferred: why, besides the reason
};

// One call target of the request. A saga step is one branch; a message step is one branch per
// subscriber of its topic (dtm-compat.md 5.9); of tcc and xa each registered branch is one, in the
// order of registration. Registering ends when the transaction leaves `prepared`.
struct Branch {
    std::string branch_id;             // "01", "02", … or "01-01"; tcc, xa: the client's
    std::string action;                // tcc: confirm, xa: phase 2; empty: succeeds without a call
    std::string compensate;            // tcc: cancel, xa: phase 2; empty: succeeds without a call
    std::uint32_t step = 0;            // 0-based index of the step, and of its payload
    std::vector<std::uint32_t> after;  // branch indices whose actions must have succeeded first
};

struct Options {
    bool concurrent = false;        // saga: custom_data.concurrent; msg: concurrent
    bool wait_result = false;       // only the API server acts on it
    bool exact_progress = false;    // write every step, never rely on the fresh row (design 7.3)
    Seconds timeout_to_fail{0};     // 0: the type's default (none for saga)
    Seconds request_timeout{0};     // 0: Policy's
    Seconds retry_interval{0};      // 0: Policy's
    Seconds delay{0};               // msg: nothing is called before create_time + delay
    std::uint32_t retry_limit = 0;  // saga: 0 is unlimited
    std::map<std::string, std::string> branch_headers;
};

// What was asked for. Never changes after the submit, so it is shared and never copied.
struct Request {
    std::string gid;
    TransType type = TransType::saga;
    std::string protocol = "http";
    std::vector<Branch> branches;
    std::vector<std::string> payloads;  // per step, byte for byte as received
    std::string query_prepared;         // msg; workflow: its callback
    // tcc, xa: stored, not interpreted. workflow: {"name":…,"data":…} as received; the callback's
    // op is the name, its body the data (1.4.1).
    std::string custom_data;
    std::string workflow_name;
    std::string workflow_data;  // bytes
    Options options;
};

// A call that was due and was not made.
struct KeptBack {
    Hold hold = Hold::pause;
    std::string reason;  // for people
    Time since{};        // it may have been due several times since
    bool operator==(const KeptBack&) const = default;
};

// The life of one branch operation.
struct OpState {
    BranchStatus status = BranchStatus::prepared;
    bool in_flight = false;             // released and not answered; never stored
    std::uint32_t attempts = 0;         // calls released, ever
    std::uint32_t errors = 0;           // consecutive temporary errors; drives back-off and alert
    std::optional<Time> next;           // not to be called before
    std::optional<Time> finished;       // when the status left `prepared`
    std::string last_answer;            // reason of the last answer that was not a success
    std::optional<KeptBack> kept_back;  // since its last call
    bool operator==(const OpState&) const = default;
};

struct BranchState {
    // The action's call may have left this machine, in this or an earlier life of the coordinator.
    // Rollback covers exactly the branches where this is set (P6).
    bool may_have_run = false;
    OpState action;
    OpState compensate;
    bool operator==(const BranchState&) const = default;
};

// What has happened so far. `durable_*` mirror what the stored row says, so that decide() can tell
// which call needs a flush before it (design 7.3).
struct State {
    Status status = Status::submitted;
    Time create_time{};
    std::vector<BranchState> branches;  // parallel to Request::branches
    OpState query;
    std::string rollback_reason;
    // tcc, xa: their time was over, but a branch may have been registered since the row was read.
    // Nothing is called before the row, with this decision in it, was read again (Loaded); only
    // in memory, never stored.
    bool outdated = false;
    // The stored row is still the one the submit wrote: it says "every action may have run".
    bool durable_fresh = true;
    // What the stored row says about each branch, meaningful when !durable_fresh.
    std::vector<bool> durable_may_have_run;
    bool operator==(const State&) const = default;
};

// Defaults of the server, and its limits. All of them are settings.
struct Policy {
    Seconds retry_interval{10};
    Seconds timeout_to_fail{35};
    Seconds request_timeout{3};
    Seconds max_retry_interval{3600};  // cap of the back-off (D12)
    std::uint32_t alert_retry_limit = 3;
};

}  // namespace dtm::core
