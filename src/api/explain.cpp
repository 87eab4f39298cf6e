// dtm_explain: a transaction as a tree, the way EXPLAIN shows a plan. The last line is one
// sentence: why it waits, or how it ended. It must never fail on a row that exists.
#include "api/dispatch.hpp"
#include "api/progress.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "store/access.hpp"
#include "store/control.hpp"
#include "store/stored_answer.hpp"

#include <algorithm>

namespace dtm::api {

namespace {

using core::BranchStatus;
using core::Op;
using core::Status;

// An answer may be a whole HTML page; dtm.branch has all that is kept of it.
constexpr std::size_t longest_answer = 200;

std::string one_line(std::string_view text) {
    std::string out(text.substr(0, longest_answer));
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20) c = ' ';
    }
    if (text.size() <= longest_answer) return out;
    // Not in the middle of a UTF-8 character.
    while (!out.empty() && (static_cast<unsigned char>(text[out.size()]) & 0xC0) == 0x80)
        out.pop_back();
    return out + " …";
}

class Explainer {
public:
    // Within a store::AsOwner.
    Explainer(const store::Stored& row, pg::UnixTime now)
        : row_(row),
          now_(now),
          control_(store::control()),
          progress_(read_progress(store::texts_of(row))),
          rollback_(rollback_time()),
          all_(operations(progress_)) {}

    std::vector<std::string> lines() {
        lines_.push_back(row_.trans_type + " " + row_.gid + "  status " + row_.status + " (age " +
                         duration_text(now_ - row_.create_time) + ", owner " + row_.owner + ")");
        for (const core::Branch& b : progress_.request.branches) {
            width_ = std::max(width_, b.branch_id.size());
        }
        for (const Operation& o : all_) {
            // In the order in which things happen: action first.
            if (o.op == Op::compensate) continue;
            show(o, true);
            if (undoing() && o.branch) show_compensation(o.index);
        }
        lines_.push_back(conclusion());
        return std::move(lines_);
    }

private:
    // A step of a workflow: its client has done it.
    static bool recorded(const Operation& o) { return !o.branch && o.op != Op::query; }
    bool is(core::TransType type) const { return progress_.request.type == type; }
    bool undoing() const {
        return !is(core::TransType::msg) && (progress_.state.status == Status::aborting ||
                                             progress_.state.status == Status::failed);
    }
    bool undone(std::uint32_t i) const { return core::is_undone(progress_.request, branch(i)); }
    const core::BranchState& branch(std::uint32_t i) const { return progress_.state.branches[i]; }
    const std::string& id(std::uint32_t i) const { return progress_.request.branches[i].branch_id; }

    void show_compensation(std::uint32_t index) {
        for (const Operation& o : all_) {
            if (o.op == Op::compensate && o.index == index) show(o, false);
        }
    }

    void show(const Operation& o, bool with_id) {
        std::string line = "  ";
        std::string label = with_id ? std::string(o.branch_id()) : "";
        label.resize(std::max(width_, label.size()), ' ');
        std::string op(o.op_name());
        op.resize(std::max<std::size_t>(op.size(), 10), ' ');
        line += label + "  " + op + "  ";
        if (!recorded(o)) line += (o.url.empty() ? "(no URL)" : std::string(o.url)) + "  ";
        if (const auto place = goes_elsewhere(o))
            line += "redirected to " + store::without_secrets(*place) + "  ";
        line += state_of(o);
        lines_.push_back(std::move(line));
        if (!o.life->last_answer.empty() && o.life->status != BranchStatus::succeed) {
            lines_.push_back(std::string(width_ + 4, ' ') +
                             "last answer: " + one_line(o.life->last_answer));
        }
        if (const auto& kept = o.life->kept_back; kept && !core::is_final(progress_.state.status)) {
            lines_.push_back(std::string(width_ + 4, ' ') + "kept back for " +
                             duration_text(now_ - kept->since) + ": " + one_line(kept->reason));
        }
    }

    // Its next call, if there may be one.
    std::optional<std::string> goes_elsewhere(const Operation& o) const {
        const bool open = o.life->status == BranchStatus::prepared && !recorded(o) &&
                          !core::is_final(progress_.state.status);
        return open ? store::redirected(control_.redirects, o.url) : std::nullopt;
    }

    std::optional<std::string> paused(const Operation& o) const {
        const auto place = goes_elsewhere(o);
        return paused_host(control_.paused_hosts, place ? *place : o.url);
    }

    // Of what goes forward: when its time is over.
    std::optional<pg::UnixTime> rollback_time() const {
        if (progress_.state.status != Status::submitted) return std::nullopt;
        return core::deadline(progress_.request, progress_.state, hub::policy());
    }
    bool comes_too_late(pg::UnixTime t) const { return rollback_ && *rollback_ <= t; }
    std::string rolled_back() const {
        if (*rollback_ <= now_) return "about to be rolled back";
        return "rolled back in " + when(*rollback_);
    }

    std::string attempts(const core::OpState& life) const {
        std::string text = counted(life.attempts, "attempt", "attempts");
        if (life.errors > 0) text += ", " + counted(life.errors, "error", "errors") + " in a row";
        return text;
    }

    std::string state_of(const Operation& o) const {
        const core::OpState& life = *o.life;
        if (recorded(o)) return std::string(core::to_string(life.status)) + " (as its client says)";
        if (core::is_skipped(life)) {
            std::string text = one_line(life.last_answer);
            return life.attempts > 0 ? text + " (" + attempts(life) + ")" : text;
        }
        if (life.status == BranchStatus::succeed) {
            return o.url.empty() ? "succeed (without a call)" : "succeed (" + attempts(life) + ")";
        }
        if (life.status == BranchStatus::failed) return "failed (" + attempts(life) + ")";
        std::string text = "prepared";
        if (life.attempts > 0) text += " (" + attempts(life) + ")";
        const std::string why = blocker(o);
        if (!why.empty()) return text + ", " + why;
        if (!life.next || *life.next <= now_) return text;
        if (comes_too_late(*life.next))
            return text + ", " + rolled_back() + " before its next call";
        const bool kept_back = life.kept_back || paused(o);
        return text + (kept_back ? ", next look in " : ", next call in ") + when(*life.next);
    }

    // "in 17 s (2026-…)" without the "in".
    std::string when(pg::UnixTime t) const {
        return duration_text(t - now_) + " (" + time_text(t) + ")";
    }

    // What this operation waits for, apart from its time; "" when it is its turn.
    std::string blocker(const Operation& o) const {
        if (recorded(o)) return "recorded by its client";
        const Status status = progress_.state.status;
        if (core::is_final(status)) {
            const bool never = o.op == Op::compensate && !undone(o.index);
            return never ? "not needed" : "not called any more";
        }
        if (o.op == Op::query) return "";
        if (o.op == Op::action) {
            if (status == Status::aborting) return "not called any more";
            if (status == Status::prepared) return "waits for the submit";
            return predecessors(o.index);
        }
        if (status != Status::aborting) return "not needed so far";
        if (!undone(o.index)) return "not needed: the action never ran";
        return successors(o.index);
    }

    std::vector<std::uint32_t> before(std::uint32_t i, Op op) const {
        return core::waits_for(progress_.request, progress_.state, i, op);
    }

    std::string listed(const std::vector<std::uint32_t>& branches, std::string_view wish) const {
        std::string text;
        for (const std::uint32_t i : branches) {
            text += text.empty() ? wish : ", ";
            text += id(i);
        }
        return text;
    }

    // Of those that come one after the other, the one right before it says enough.
    std::string predecessors(std::uint32_t i) const {
        std::vector<std::uint32_t> open = before(i, Op::action);
        if (!progress_.request.options.concurrent && !open.empty())
            open = {open.front() > i ? open.front() : open.back()};
        return listed(open, "waits for ");
    }

    std::string successors(std::uint32_t i) const {
        return listed(before(i, Op::compensate), "waits until these are undone: ");
    }

    std::string conclusion() const {
        if (row_.status == "succeed" || row_.status == "failed") return ending();
        return "waiting because " + reason();
    }

    std::string ending() const {
        const bool good = row_.status == "succeed";
        const auto& end = good ? row_.finish_time : row_.rollback_time;
        std::string text = "finished: " + row_.status;
        if (end) {
            text += " at " + time_text(*end) + ", " + duration_text(*end - row_.create_time) +
                    " after the submit";
        }
        if (row_.rollback_reason) text += "; reason: " + one_line(*row_.rollback_reason);
        return text;
    }

    std::string reason() const {
        if (hub::pending_contains(row_.gid)) {
            return "this session has not committed it yet: nothing is called before that";
        }
        if (store::is_paused(row_.attention)) {
            return "it is " + one_line(*row_.attention) + "; dtm_resume('" + row_.gid +
                   "') takes it up again";
        }
        if (row_.attention) {
            return "it was put aside: " + one_line(*row_.attention) +
                   "; dtm_retry_now() takes it up again, dtm_force_stop() gives it up";
        }
        if (!progress_.unreadable.empty()) return "its row cannot be read: " + progress_.unreadable;
        const DispatchState dispatch = dispatch_state();
        // Where nobody calls anybody, nothing goes on when its time has come.
        const bool at_work = dispatch.what == Dispatch::running || dispatch.running > 0;
        if (std::string time = at_work ? waits_for_time() : ""; !time.empty()) return time;
        if (!dispatch.because.empty())
            return dispatch.because + "; dtm_check() says how to mend it";
        for (const Operation& o : all_) {
            if (o.life->status != BranchStatus::prepared || !blocker(o).empty()) continue;
            return "the call of " + o.name() + " is in flight or about to be made";
        }
        if (!row_.next_cron_time) return waits_for_client();
        return "the coordinator is about to look at it";
    }

    // Of what is prepared: the next move is its client's.
    std::string waits_for_client() const {
        std::string text = is(core::TransType::workflow)
                               ? "its client is at work"
                               : "its client has neither submitted nor aborted it";
        if (is(core::TransType::saga)) return "its client has not submitted it";
        if (!row_.next_cron_time) return text;
        text += is(core::TransType::workflow) ? "; it is called back in "
                : is(core::TransType::msg)    ? "; query_prepared is asked in "
                                              : "; it is rolled back in ";
        return text + when(*row_.next_cron_time);
    }

    // The earliest time at which something happens, when nothing can before.
    std::string waits_for_time() const {
        const Operation* next = nullptr;
        for (const Operation& o : all_) {
            if (o.life->status != BranchStatus::prepared || !blocker(o).empty()) continue;
            if (!o.life->next || *o.life->next <= now_) {
                if (!row_.next_cron_time || *row_.next_cron_time <= now_) return "";
                continue;
            }
            if (next == nullptr || *o.life->next < *next->life->next) next = &o;
        }
        if (next != nullptr) return waits_for_time(*next);
        if (!row_.next_cron_time || *row_.next_cron_time <= now_) return "";
        if (progress_.state.status == Status::prepared) return waits_for_client();
        const auto delay = progress_.request.options.delay;
        if (delay.count() > 0 && row_.create_time + delay > now_) {
            return "it is delayed by " + duration_text(delay) + "; first call in " +
                   when(row_.create_time + delay);
        }
        return "it is not due yet; next look in " + when(*row_.next_cron_time);
    }

    std::string waits_for_time(const Operation& next) const {
        const core::OpState& life = *next.life;
        std::string text = next.name();
        if (life.kept_back) {
            text += " is kept back: " + one_line(life.kept_back->reason);
        } else {
            text += life.errors > 0
                        ? " failed " + counted(life.errors, "time", "times") + " in a row"
                    : life.attempts > 0 ? " answered that it is still at work"
                                        : " is not due yet";
        }
        if (comes_too_late(*life.next)) {
            return text + "; it is " + rolled_back() + ", as its timeout_to_fail says";
        }
        if (life.kept_back) return text + "; next look in " + when(*life.next);
        if (const auto host = paused(next)) {
            return text + ", and its host is paused: dtm_resume(host => '" + *host +
                   "') lets it be called; next look in " + when(*life.next);
        }
        return text + "; next call in " + when(*life.next);
    }

    const store::Stored& row_;
    const pg::UnixTime now_;
    const store::Control control_;
    const Progress progress_;
    const std::optional<pg::UnixTime> rollback_;
    const std::vector<Operation> all_;
    std::size_t width_ = 2;
    std::vector<std::string> lines_;
};

std::vector<std::string> explain(const std::string& gid) {
    const Oid viewer = GetUserId();
    const store::AsOwner as_owner;
    const auto row = store::find(gid, viewer);
    if (!row) unknown_gid(gid);
    return Explainer(*row, pg::now()).lines();
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_explain) {
    api::ResultRows rows(fcinfo);
    if (PG_ARGISNULL(0)) return Datum{0};
    for (const std::string& line : api::explain(pg::text_arg(fcinfo, 0))) {
        pg::Args row;
        row.text(line);
        rows.add(row);
    }
    return Datum{0};
}
