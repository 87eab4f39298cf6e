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
                if (s.op != Op::query && !(saga && s.op == Op::action)) add(Kind::failure_as_error);
            }
        }
        if (op.phase == done_ok || op.phase == done_failed) {
            add(Kind::answer);
            if (spare) add(Kind::lost);
        }
        const Status when = s.op == Op::query    ? Status::prepared
                            : s.op == Op::action ? Status::submitted
                                                 : Status::aborting;
        if (w.alive && w.wake && w.status == raw(when) && op.waiting && op.phase == idle)
            add(Kind::retry);
        if (stray) {
            const u8 effect = w.branch[s.branch].effect;
            if (s.op == Op::query    ? w.local == undecided
                : s.op == Op::action ? effect == nothing
                                     : effect == nothing || effect == active)
                add(Kind::stray);
            if (shape_.stray_answers && w.alive && op.phase != held) add(Kind::stray_answer);
        }
    };
    for (int i = 0; i < count_; ++i) {
        const BranchWorld& b = w.branch[static_cast<std::size_t>(i)];
        of({Kind::load, static_cast<u8>(i), Op::action}, b.stray_action, b.trouble_action);
        if (saga)
            of({Kind::load, static_cast<u8>(i), Op::compensate}, b.stray_compensate,
               b.trouble_compensate);
    }
    if (shape_.starts_prepared) {
        of({Kind::load, 0, Op::query}, w.stray_query, w.trouble_query);
        if (w.alive && w.believed != w.row_status) to.push_back({Kind::hint});
        if (!w.client_gone) {
            if (w.local == undecided) {
                to.push_back({Kind::client_commit});
                if (w.row_status == raw(Status::prepared)) to.push_back({Kind::client_abort});
            }
            if (w.local == committed && w.row_status == raw(Status::prepared))
                to.push_back({Kind::client_submit});
        }
    }
    if (w.alive && w.crashes < shape_.crashes) to.push_back({Kind::crash});
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
                                        "client aborts"};
    std::string text;
    const bool about_call = s.kind != Kind::load && s.kind != Kind::settle &&
                            s.kind != Kind::deadline && s.kind < Kind::crash;
    if (about_call) {
        if (s.op == Op::query)
            text = "query ";
        else
            text = std::string(to_string(s.op)) + " " + static_cast<char>('A' + s.branch) + " ";
    }
    return text + kText[static_cast<int>(s.kind)];
}

}  // namespace model
