// The participants with dtm's barrier, and what must be true of them at any time.
#include "world.hpp"

namespace model {

using core::Op;
using core::Status;
using core::TransType;

bool Rules::is_before(int other, int branch) const {
    return shape_.request.type == TransType::tcc ? other > branch : other < branch;
}

void Rules::arrive_query(World& w, Phase* answer) const {
    if (workflow()) {  // the client resumes, works and reports, then it answers
        const core::Ruling ruling = rule(w, core::Command::finish);
        if (ruling.what == core::Ruling::What::change) w.row_status = raw(ruling.to);
        w.client_gone = 1;
        if (answer) *answer = done_ok;
        return;
    }
    // The query's barrier row forestalls the client's.
    if (w.local == undecided) w.local = never;
    if (answer) *answer = w.local == committed ? done_ok : done_failed;
}

// confirm (commit) and cancel (rollback): what the client's try did is kept or given back.
std::string Rules::arrive_second_phase(World& w, int branch, Op op) const {
    const auto effect_of = [&w](int i) -> u8& {
        return w.branch[static_cast<std::size_t>(i)].effect;
    };
    u8& effect = effect_of(branch);
    const bool cancelled = effect == undone || effect == forestalled;
    if (op == Op::action && effect == nothing) return "P3: confirmed, but never tried";
    if (op == Op::action && cancelled) return "P4: confirmed after it was cancelled";
    if (op == Op::compensate && effect == confirmed) return "P4: cancelled after it was confirmed";
    const u8 then = op == Op::action ? confirmed : effect == nothing ? forestalled : undone;
    if (effect == confirmed || cancelled) return {};  // once more: its barrier row is there
    effect = then;
    for (int other = 0; other < w.registered; ++other) {
        const u8 theirs = effect_of(other);
        const bool done = theirs == confirmed || theirs == undone || theirs == forestalled;
        if (is_before(other, branch) && !done) return "order: its turn has not come";
    }
    return {};
}

std::string Rules::arrive(World& w, int branch, Op op, Phase* answer) {
    if (op == Op::query) {
        arrive_query(w, answer);
        return {};
    }
    if (answer) *answer = done_ok;
    if (two_phase()) return arrive_second_phase(w, branch, op);
    u8& effect = w.branch[static_cast<std::size_t>(branch)].effect;
    std::string broken;
    for (int other = 0; other < count_; ++other) {
        const u8 theirs = w.branch[static_cast<std::size_t>(other)].effect;
        if (op == Op::action && effect == nothing && builds_upon(branch, other) && theirs != active)
            broken = "order: an action has its effect without its predecessor's";
        if (op == Op::compensate && effect == active && builds_upon(other, branch) &&
            theirs == active)
            broken = "P6: undone before the step that was built upon it";
    }
    if (op == Op::action && effect == nothing)
        effect = active;
    else if (op == Op::compensate && effect == nothing)
        effect = forestalled;
    else if (op == Op::compensate && effect == active)
        effect = undone;
    return broken;
}

// Every branch is confirmed or every branch is cancelled; a failed one leaves nothing reserved and
// nothing that could still be.
std::string Rules::check_two_phase(const World& w) const {
    bool kept = false, taken_back = false;
    for (int i = 0; i < w.registered; ++i) {
        const u8 effect = w.branch[static_cast<std::size_t>(i)].effect;
        const std::string name = std::to_string(i + 1);
        if (w.row_status == raw(Status::succeed) && effect != confirmed)
            return "P3: succeed, but branch " + name + " is not confirmed";
        if (w.row_status == raw(Status::failed) && effect != undone && effect != forestalled)
            return "P6: failed, but branch " + name + " is not cancelled";
        kept = kept || effect == confirmed;
        taken_back = taken_back || effect == undone || effect == forestalled;
    }
    if (kept && taken_back) return "P4: one branch is confirmed and another is cancelled";
    if (kept && w.row_status != raw(Status::submitted) && w.row_status != raw(Status::succeed))
        return "P5: confirmed, but the row never said submitted";
    if (taken_back && w.row_status != raw(Status::aborting) && w.row_status != raw(Status::failed))
        return "P5: cancelled, but the row never said aborting";
    return {};
}

// What must be true of every world, whatever led to it.
std::string Rules::check(const World& w) const {
    if (two_phase()) return check_two_phase(w);
    const bool message = shape_.request.type == TransType::msg;
    for (int i = 0; i < count_; ++i) {
        const u8 effect = w.branch[static_cast<std::size_t>(i)].effect;
        if (w.row_status == raw(Status::failed) && effect == active)
            return "P6: failed, but the effect of branch " + std::to_string(i + 1) + " stands";
        if (w.row_status == raw(Status::succeed) && effect != active)
            return "P3: succeed, but branch " + std::to_string(i + 1) + " has no effect";
        if (message && effect == active && w.local != committed &&
            !shape_.request.query_prepared.empty())
            return "P2: delivered, but the client's transaction did not commit";
    }
    if (message && w.row_status == raw(Status::failed) && w.local != never)
        return "P1: a message is taken back whose transaction committed or still can";
    return {};
}

}  // namespace model
