// A world around core, for random schedules: rows with versions, a coordinator that can lose its
// memory (worker/actives and worker/settler, without PostgreSQL), a network, participants with
// dtm's barrier and accounts, clients, an operator, a clock in microseconds. It makes every step
// that the real ones could make; the oracle watches each of them.
//
// The proofs over all schedules of one small transaction are tests/model's. This one has more of
// everything: several transactions, real times, versions, batches, operators; and it only samples.
#pragma once

#include "core/barrier.hpp"
#include "core/command.hpp"
#include "core/decide.hpp"
#include "shapes.hpp"

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace sim {

using core::Op;
using core::Result;
using core::Status;
using core::Time;
using core::TransType;
using core::Write;

constexpr int kMaxCalls = 64;
constexpr int kOps = 2 * kMaxBranches + 1;  // of one transaction
inline std::size_t op_index(std::uint32_t branch, Op op) {
    return op == Op::query ? kOps - 1 : branch + (op == Op::action ? 0 : kMaxBranches);
}

enum class Kind : u8 {
    // Progress. From every unfinished world one of these must be possible (P1).
    start,
    load,
    timer,
    settle,
    arrive,
    answer,
    begin,
    commit,
    local_commit,
    enroll,     // a client registers its next branch
    try_first,  // and calls its try (xa: the branch prepares)
    submit,
    resume,
    tick,
    // Trouble, by the coordinator, …
    crash,
    settle_lost,        // the settle's transaction does not commit, the process dies
    settle_then_crash,  // it commits, but the calls that waited for it never leave
    settle_locked,      // rows that somebody holds are left for later
    put_aside,          // the state of one row cannot be written
    rest,               // it cannot even be marked
    hint_lost,
    // … by network and participants, …
    refuse,
    ongoing,
    error,
    deferred,  // the call never left the machine
    timeout,   // given up, and the request is still under way
    lost_answer,
    duplicate,
    late_answer,
    // … by people.
    roll_back,
    client_dies,
    client_aborts,
    resubmit,
    retry_now,
    force_stop,
    skip,
    pause,
    late_try,  // its client is gone
    count_
};
constexpr int kKinds = static_cast<int>(Kind::count_);
constexpr bool is_trouble(Kind k) { return k >= Kind::crash; }

struct Step {
    Kind kind = Kind::tick;
    u8 tx = 0;
    u8 branch = 0;
    Op op = Op::action;
    u8 ordinal = 0;            // which call of that operation
    std::uint32_t amount = 0;  // tick: microseconds; settle_locked: bits of the locked rows
};

using Possible = std::array<Step, 5 * kMaxTrans + kMaxCalls + 3>;

// What is broken on purpose, in this model of the driver only. Product code has no such switches.
enum class Mutant : u8 {
    none,
    calls_before_flush,   // calls leave with the decision
    calls_before_commit,  // held calls leave before the settle has committed
    row_forgets_frontier,
    fresh_as_new,      // every fresh row counts as one that nobody has worked on
    settle_unguarded,  // by the version
    ids_across_lives,  // an answer finds whoever has its number now
    reload_at_once,    // a changed row is read again while calls are in flight
    reads_uncommitted,
    no_sweep,               // hints only
    no_barrier,             // at the participants
    due_forgotten,          // a settle leaves no time for the sweep
    skip_forgets_frontier,  // the verb takes a fresh row for one that nobody has worked on
    branches_not_reread,    // what was registered before a timeout was written stays unknown
    count_
};
const char* name(Mutant);
const char* words(Kind);

struct Row {
    bool exists = false, visible = false, fresh = true, aside = false, paused = false;
    bool stopped = false;  // by an operator
    bool was_submitted = false, was_aborting = false;
    Status status = Status::submitted;
    std::uint32_t born = 0;  // the coordinator's life in which it was inserted
    int version = 1;
    Time created{};
    std::optional<Time> due;
    core::State progress;  // meaningful when !fresh
};

struct Active {
    bool present = false, reload = false;
    u8 known = 0;  // branches of the row that was read
    u8 in_flight = 0, held_count = 0;
    std::uint32_t id = 0;
    int version = 0;
    Write dirty = Write::none;
    std::optional<Time> wake, resting_until;
    std::array<core::Call, kOps> held;
    core::State state;
};

// One branch at its participant: the barrier's rows and what the business did. Of tcc and xa, what
// the compensation undoes is the try (the prepared transaction), which is no call of ours.
struct Branch {
    u8 action_row = 0;  // 0 none, 1 by the action (try), 2 by the compensation
    bool undo_row = false, action_skipped = false, undo_skipped = false, confirm_row = false;
    u8 runs = 0, undos = 0, confirms = 0;
    bool stands() const { return runs > undos; }
};

enum class Client : u8 { idle, open, prepared, committed, gone };
enum class Local : u8 { undecided, committed, never };

struct Trans {
    const Shape* shape = nullptr;
    Client client = Client::idle;
    Local local = Local::undecided;
    bool hinted = false, reloadable = false;
    bool strict = false;   // its participants answer FAILURE to a hanging action
    bool hurried = false;  // by an operator: a workflow is asked before its first interval is over
    u8 registered = 0;     // branches of tcc and xa
    std::optional<Time> alarm;
    std::uint32_t loads = 0;
    Time swept{};  // when the coordinator last looked at the row
    Row row;
    Active active;
    std::array<Branch, kMaxBranches> branch;
    std::array<u8, kOps> calls_made;   // per operation: numbers its calls
    std::array<Time, kOps> too_early;  // and when it may be called again
};

struct Call {
    u8 tx = 0, branch = 0;
    Op op = Op::action;
    u8 ordinal = 0;
    bool awaited = false, answered = false;
    Result result = Result::success;
    std::uint32_t life = 0, active = 0;
};

struct Plan {
    int count = 1;
    std::array<const Shape*, kMaxTrans> shape{};
    std::array<bool, kMaxTrans> strict{};
};

struct Broken {
    const char* promise = nullptr;  // begins with its number
    u8 tx = 0;
    int branch = -1;
    explicit operator bool() const { return promise != nullptr; }
};

class World {
public:
    explicit World(Mutant mutant) : mutant_(mutant) {}

    void reset(const Plan&);
    // Makes the step if it is possible.
    bool apply(const Step&);
    // Steps that need no luck; `tick` only where nothing else is possible and time helps.
    int ordinary(Possible& to) const;
    // The call that a step is about, as close as there is one: schedules are cut down and replayed.
    int find_call(const Step&) const;
    // Whether the step could be about this call.
    bool fits(const Step&, const Call&) const;
    // Every transaction has ended, or will never begin.
    bool at_rest() const;
    // P1 and the accounts, when trouble is over and nothing is left to do.
    void check_end();

    const Broken& broken() const { return broken_; }
    void fail(const char* promise, int tx, int branch = -1);
    int count() const { return count_; }
    const Trans& trans(int i) const { return trans_[static_cast<std::size_t>(i)]; }
    int calls() const { return call_count_; }
    const Call& call(int i) const { return calls_[static_cast<std::size_t>(i)]; }
    Time now() const { return now_; }
    bool alive() const { return alive_; }
    std::string title(int tx) const;  // "T1 " where there are several

    std::uint64_t decisions = 0;
    std::string* story = nullptr;  // what the step led to is appended

private:
    Trans& at(int i) { return trans_[static_cast<std::size_t>(i)]; }
    int index(const Trans& t) const { return static_cast<int>(&t - trans_.data()); }
    void note(const Trans&, const std::string&);
    bool make(const Step&);
    bool make_call_step(const Step&);

    // The coordinator (coordinator.cpp).
    void forget_everything();
    const core::Request& request_of(const Trans& t) const;  // as the coordinator knows it
    bool ready(const Trans&) const;
    bool load(Trans&);
    void add(Trans&);
    void decide(Trans&, const core::Event&);
    void take_answer(const Call&, Result);
    void leave(Trans&, core::Call);
    void let_go_if_idle(Trans&);
    void changed_by_others(Trans&);
    bool settle(unsigned locked, Kind how);
    void write(Trans&);
    void settled(Trans&);
    bool writable(const Trans&) const;
    bool put_aside(Trans&);
    void forget(Trans&);
    void end_awaiting(const Trans*);
    std::optional<Time> next_event() const;

    // Everybody else (outside.cpp).
    Result arrive(const Call&);
    Result arrive_query(Trans&);
    Result arrive_action(Trans&, int branch);
    Result arrive_compensation(Trans&, int branch);
    void run_undo(Trans&, int branch);
    bool can_refuse(const Call&) const;
    void add_call(const Call&);
    void remove_call(int i);
    bool client_step(Trans&, Kind);
    bool client_commits(Trans&);
    bool client_aborts(Trans&);
    bool begin(Trans&);
    void submit(Trans&);
    core::Ruling rule(const Trans&, core::Command, Status end = Status::succeed) const;
    void obey(Trans&, const core::Ruling&);
    void change_status(Trans&, Status);
    bool retry_now(Trans&);
    bool force_stop(Trans&);
    bool skip(Trans&, int branch);
    bool pause(Trans&);
    bool resume(Trans&);
    core::State stored_state(const Trans&, bool virgin) const;
    core::State read_state(const Trans&, bool virgin) const;

    // tcc and xa (two_phase.cpp).
    bool enroll(Trans&);
    int untried(const Trans&) const;  // a registered branch; -1: none
    bool all_tried(const Trans&) const;
    bool try_first(Trans&);
    bool late_try(Trans&, int branch);
    bool arrive_try(Trans&, int branch);
    Result arrive_confirm(Trans&, int branch);
    Result arrive_cancel(Trans&, int branch);
    void check_second_phase(const Trans&, int branch, Op);
    void check_second_phase_leaving(const Trans&, core::Call);
    void check_second_phase_row(const Trans&);

    // The oracle (oracle.cpp).
    void check_decision(const Trans&, const core::Decision&);
    void check_leaving(const Trans&, core::Call);
    void expect_pause(Trans&, const core::Answer&);
    void check_order(const Trans&, int branch, Op);
    void check_row(const Trans&, Status from, bool by_coordinator);
    void check_rest(const Trans&);
    void check_late(const Trans&, const core::State& before);
    bool waits_for(const Trans&, int later, int earlier) const;
    bool same_call_awaited(const Trans&, core::Call) const;

    Mutant mutant_;
    int count_ = 0, call_count_ = 0;
    Time now_{};
    bool alive_ = false;
    std::uint32_t life_ = 0, next_active_ = 1;
    std::array<Trans, kMaxTrans> trans_;
    std::array<Call, kMaxCalls> calls_;
    std::array<long, 4> account_{};
    core::Policy policy_;
    Broken broken_;
};

}  // namespace sim
