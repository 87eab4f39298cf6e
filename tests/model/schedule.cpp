// What can happen next in the model world, and how it is told.
#include "world.hpp"

namespace model {

using core::Op;
using core::Status;
using core::TransType;

bool is_ordinary(Kind k) {
    switch (k) {
        case Kind::load:
        case Kind::settle:
        case Kind::arrive:
        case Kind::answer:
        case Kind::retry:
        case Kind::deadline:
            return true;
        default:
            return false;
    }
}

// ------------------------------------------------------------------------

void Rules::steps(const World& w, std::vector<Step>& to) const {
    const bool final_row = core::is_final(status_of(w.row_status));
    const bool saga = shape_.request.type == TransType::saga;
    const bool can_undo = saga || two_phase();
    if (!w.alive && !final_row) to.push_back({Kind::load});
    if (w.alive && w.pending) to.push_back({Kind::settle});
    if (shape_.has_deadline && !w.timed_out && !final_row) to.push_back({Kind::deadline});

    const auto of = [&](Step s, u8 stray, u8 trouble) {
        const LiveOp& op = live(w, s);
        const auto add = [&](Kind k) { to.push_back({k, s.branch, s.op}); };
        const bool spare = w.trouble < shape_.trouble && trouble < shape_.trouble_per_op;
        if (op.phase == out) {
            add(Kind::arrive);
            if (saga && s.op == Op::action && w.branch[s.branch].effect == nothing)
                add(Kind::refuse);
            if (spare) {
                add(Kind::error);
                add(Kind::ongoing);
                add(Kind::late);
                const bool decides = s.op == Op::query ? !workflow() : saga && s.op == Op::action;
                if (!decides) add(Kind::failure_as_error);
            }
        }
        if (op.phase == done_ok || op.phase == done_failed) {
            add(Kind::answer);
            if (spare) add(Kind::lost);
        }
        const Status when = s.op == Op::query    ? Status::prepared
                            : s.op == Op::action ? Status::submitted
                                                 : Status::aborting;
        // A workflow asks for ever, so here it counts that a write is faster than an interval.
        const bool too_soon = workflow() && w.pending;
        if (w.alive && w.wake && w.status == raw(when) && op.waiting && op.phase == idle &&
            !too_soon)
            add(Kind::retry);
        if (stray) {
            const u8 effect = w.branch[s.branch].effect;
            if (s.op == Op::query    ? workflow() ? !w.client_gone : w.local == undecided
                : two_phase()        ? effect == nothing || effect == active
                : s.op == Op::action ? effect == nothing
                                     : effect == nothing || effect == active)
                add(Kind::stray);
            if (shape_.stray_answers && w.alive && op.phase != held) add(Kind::stray_answer);
        }
    };
    for (int i = 0; i < (two_phase() ? w.registered : count_); ++i) {
        const BranchWorld& b = w.branch[static_cast<std::size_t>(i)];
        of({Kind::load, static_cast<u8>(i), Op::action}, b.stray_action, b.trouble_action);
        if (can_undo)
            of({Kind::load, static_cast<u8>(i), Op::compensate}, b.stray_compensate,
               b.trouble_compensate);
    }
    if (shape_.starts_prepared) {
        of({Kind::load, 0, Op::query}, w.stray_query, w.trouble_query);
        if (w.alive && w.believed != w.row_status) to.push_back({Kind::hint});
        client_steps(w, to);
    }
    if (w.alive && w.crashes < shape_.crashes) to.push_back({Kind::crash});
}

void Rules::client_steps(const World& w, std::vector<Step>& to) const {
    const bool open = !w.client_gone && w.row_status == raw(Status::prepared);
    if (workflow()) {
        if (open) to.push_back({Kind::client_submit});
        if (open) to.push_back({Kind::client_abort});
    } else if (two_phase()) {
        bool tried = true;
        for (u8 i = 0; i < w.registered; ++i) {
            const bool under_way = w.branch[i].effect == nothing;  // it may arrive at any time
            if (under_way) to.push_back({Kind::client_try, i});
            tried = tried && w.branch[i].effect == active;
        }
        // The client would go on registering: it is the row that does not let it.
        const bool inserts =
            rule(w, core::Command::register_branch).what == core::Ruling::What::insert;
        if (!w.client_gone && inserts && w.registered < count_)
            to.push_back({Kind::client_register, w.registered});
        if (open && tried) to.push_back({Kind::client_submit});
        if (open) to.push_back({Kind::client_abort});
    } else if (!w.client_gone) {
        if (w.local == undecided) {
            to.push_back({Kind::client_commit});
            if (open) to.push_back({Kind::client_abort});
        }
        if (w.local == committed && open) to.push_back({Kind::client_submit});
    }
}

std::string Rules::tell(Step s) const {
    static const char* const kText[] = {"coordinator reads the row",
                                        "the write becomes durable",
                                        "reaches the participant",
                                        "its answer comes back",
                                        "is due again",
                                        "timeout_to_fail is over",
                                        "is refused (FAILURE)",
                                        "fails without effect",
                                        "answers ONGOING",
                                        "times out, may arrive later",
                                        "its answer is lost",
                                        "answers FAILURE",
                                        "arrives after all",
                                        "arrives after all and its answer comes back",
                                        "COORDINATOR CRASHES",
                                        "coordinator hears that the row changed",
                                        "client commits its local transaction",
                                        "client submits",
                                        "client aborts",
                                        "client registers branch ",
                                        "try reaches the participant of branch "};
    std::string text;
    std::string op(to_string(s.op));
    if (two_phase()) op = s.op == Op::action ? "confirm" : "cancel";
    const std::string letter(1, static_cast<char>('A' + s.branch));
    const bool about_call = s.kind != Kind::load && s.kind != Kind::settle &&
                            s.kind != Kind::deadline && s.kind < Kind::crash;
    if (about_call) {
        if (s.op == Op::query)
            text = "query ";
        else
            text = op + " " + letter + " ";
    }
    const bool names_branch = s.kind == Kind::client_register || s.kind == Kind::client_try;
    return text + kText[static_cast<int>(s.kind)] + (names_branch ? letter : std::string());
}

}  // namespace model
