// A small world around core: one stored row, a coordinator that can lose its memory, calls under
// way, participants with dtm's barrier, a client. It makes every step that the real ones could make
// and nothing else. Time is abstract: an operation waits or is due, the deadline is ahead or over.
#pragma once

#include "core/command.hpp"
#include "core/decide.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace model {

namespace core = dtm::core;
using u8 = std::uint8_t;

constexpr int kMaxBranches = 3;

inline u8 raw(core::Status s) { return static_cast<u8>(s); }
inline u8 raw(core::BranchStatus s) { return static_cast<u8>(s); }
inline u8 raw(core::Write w) { return static_cast<u8>(w); }
inline core::Status status_of(u8 s) { return static_cast<core::Status>(s); }

// A request and how much goes wrong with it at most.
struct Shape {
    std::string name;
    core::Request request;
    bool starts_prepared = false;
    bool has_deadline = false;
    int crashes = 2;  // of the coordinator
    int trouble = 2;  // answers that are not final, over all operations
    int trouble_per_op = 2;
    bool stray_answers = true;  // the answer of a call that was given up comes back
};

// What is broken on purpose. Product code has no such switches.
struct Mutant {
    bool row_without_frontier = false;  // the store forgets may_have_run
    bool calls_before_flush = false;    // the driver lets calls leave before the write
    bool branches_not_reread = false;   // the driver believes in the branches that it knows
};

enum Phase : u8 {
    idle,
    held,         // decided, waits for the flush
    out,          // left the coordinator
    done_ok,      // the participant has worked, its answer is under way
    done_failed,  // the participant has refused, its answer is under way
};

// The ledger of one participant, together with the barrier rows that protect it.
enum Effect : u8 {
    nothing,
    active,       // action ran (of tcc: try; of xa: prepared): barrier row of the action
    undone,       // and was undone: both barrier rows
    forestalled,  // compensation came first: both barrier rows, no business call ever
    confirmed,    // tcc, xa: the second phase is done
};

enum Local : u8 { undecided, committed, never };  // the local transaction of a message's client

struct RowOp {
    u8 status, waiting, attempts;
    bool operator==(const RowOp&) const = default;
};
struct LiveOp {
    u8 status, waiting, attempts, phase;
};

struct BranchWorld {
    LiveOp action, compensate;  // coordinator's memory
    u8 may_have_run, claimed;
    RowOp row_action, row_compensate;  // stored row
    u8 row_may_have_run;
    u8 effect;                          // participant
    u8 stray_action, stray_compensate;  // a call that nobody waits for may still arrive, any time
    u8 trouble_action, trouble_compensate;
};

struct World {
    std::array<BranchWorld, kMaxBranches> branch;
    LiveOp query;
    RowOp row_query;
    u8 stray_query, trouble_query, local;
    // coordinator's memory
    u8 alive, status, fresh, wake, pending, believed, known, outdated;
    // stored row; registered: how many branches there are
    u8 row_status, row_fresh, registered;
    // the rest
    u8 virgin, timed_out, crashes, trouble, compensation_left, client_gone;
    u8 padding[3];
};
static_assert(std::has_unique_object_representations_v<World>);
static_assert(sizeof(World) % 8 == 0);

enum class Kind : u8 {
    load,
    settle,
    arrive,
    answer,
    retry,
    deadline,  // ordinary progress
    refuse,    // a saga action says FAILURE
    error,
    ongoing,
    late,
    lost,
    failure_as_error,
    stray,
    stray_answer,  // trouble
    crash,
    hint,
    client_commit,
    client_submit,
    client_abort,
    client_register,
    client_try,
};

struct Step {
    Kind kind;
    u8 branch = 0;
    core::Op op = core::Op::action;
    bool operator==(const Step&) const = default;
};

// Progress that needs no luck: from every unfinished world one such step must be possible.
bool is_ordinary(Kind);

class Rules {
public:
    Rules(Shape shape, Mutant mutant);

    World start() const;
    void steps(const World&, std::vector<Step>&) const;
    // Makes the step. Empty, or the promise that was broken.
    std::string apply(World&, Step);
    std::string tell(Step) const;
    const Shape& shape() const { return shape_; }

private:
    using Op = core::Op;

    bool two_phase() const;
    bool workflow() const { return shape_.request.type == core::TransType::workflow; }
    // The branches that the coordinator works with: of tcc and xa those that it has read.
    int known(const World& w) const { return two_phase() ? w.known : count_; }
    core::Ruling rule(const World&, core::Command, core::Status end = core::Status::succeed) const;
    // A branch that is called before this one in the second phase.
    bool is_before(int other, int branch) const;

    void client_steps(const World&, std::vector<Step>&) const;
    LiveOp& live(World&, Step) const;
    const LiveOp& live(const World&, Step) const;
    bool builds_upon(int successor, int predecessor) const;

    void load_state(const World&, core::State&) const;
    std::string decide(World&, const core::Event&, const Step* due = nullptr,
                       const Step* back = nullptr);
    std::string take_over(World&, core::Decision&);
    std::string check_rest(const World&) const;
    std::string release(World&, int branch, Op);
    std::string release_held(World&);
    std::string settle(World&);
    std::string load(World&);
    void forget(World&) const;
    std::string arrive(World&, int branch, Op, Phase* answer);
    void arrive_query(World&, Phase* answer) const;
    std::string arrive_second_phase(World&, int branch, Op) const;
    std::string answer(World&, Step, core::Result);
    std::string stray_answer(World&, Step);
    std::string check(const World&) const;
    std::string check_two_phase(const World&) const;

    Shape shape_;
    std::vector<core::Request> with_;  // the request with its first 0, 1, … branches
    Mutant mutant_;
    int count_;
    bool counts_attempts_;
    bool reach_[kMaxBranches][kMaxBranches] = {};
    core::Policy policy_;
    core::State scratch_;
};

}  // namespace model
