// See commands.hpp and executor.hpp.
#include "store/commands.hpp"

#include "core/decide.hpp"
#include "crash_point.hpp"
#include "store/executor.hpp"
#include "store/merge.hpp"
#include "wire/stored.hpp"

#include <ranges>
#include <utility>

namespace dtm::store {

using core::Command;
using core::Status;
using core::TransType;

namespace {

// How often a command is judged again because its row came or went meanwhile.
constexpr int max_rounds = 3;

bool is_likely_new(const TransCommand& c) {
    switch (c.what) {
        case Command::prepare:
        case Command::prepare_workflow:
            return true;
        case Command::submit:
            if (c.type() == TransType::msg && !c.request->query_prepared.empty()) return false;
            return core::lists_steps(c.type()) && has_steps(*c.request);
        default:
            return false;
    }
}

// Null when it cannot be read: whoever loads the row finds that out and puts it aside.
std::shared_ptr<const core::Request> readable_request(std::string_view gid, TransType type,
                                                      std::string_view text) {
    try {
        return std::make_shared<core::Request>(wire::decode_request(gid, type, text));
    } catch (const std::runtime_error&) {
        return nullptr;
    }
}

}  // namespace

TransCommand command_of(wire::TransCall&& call) {
    TransCommand command;
    command.what = call.command;
    command.request = std::make_shared<core::Request>(std::move(call.request));
    command.reason = std::move(call.rollback_reason);
    command.result = std::move(call.result);
    command.end = call.end;
    return command;
}

std::vector<CommandResult> execute(std::span<const TransCommand* const> commands, Oid role,
                                   core::Time now, const core::Policy& policy, bool skip_locked) {
    if (commands.empty()) return {};
    return Executor(commands, role, now, policy, skip_locked).run();
}

std::vector<CommandResult> Executor::run() {
    refuse_what_cannot_be_stored();
    if (careful_) find_busy();
    try_the_likely();
    for (int round = 0; round < max_rounds && anything_open(); ++round) judge_open();
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        if (!answered_[i]) answer(i, What::busy);
    }
    attach_branches();
    return std::move(results_);
}

// ---- answers ------------------------------------------------------------------------------------

void Executor::refuse(std::size_t i, What what, Refusal why, std::string message, const Row* row) {
    CommandResult& result = answer(i, what);
    result.refusal = why;
    result.message = std::move(message);
    if (row != nullptr) result.found = core::Found{row->type, row->status};
}

void Executor::leave(std::size_t i, const Row& row) {
    CommandResult& result = answer(i, What::done);
    result.status = row.status;
    result.version = row.version;
    result.create_time = row.create_time;
    result.rollback_reason = row.rollback_reason;
    result.silent = !row.progress;
}

const std::string& Executor::text(std::size_t i) {
    if (texts_[i].empty()) texts_[i] = wire::encode_request(*command(i).request);
    return texts_[i];
}

// ---- before anything is tried -------------------------------------------------------------------

void Executor::refuse_what_cannot_be_stored() {
    const auto needs_table = [this](std::size_t i) {
        const TransCommand& c = command(i);
        if (c.what == Command::force_stop || c.what == Command::hurry) return false;
        return c.what == Command::register_branch || core::has_registered(c.type());
    };
    const auto all = std::views::iota(std::size_t{0}, commands_.size());
    if (std::ranges::none_of(all, needs_table) || can_register()) return;
    for (const std::size_t i : all) {
        if (!needs_table(i)) continue;
        refuse(i, What::error, Refusal::old_sql,
               "the SQL of dtm_pg in this database is older than its library: run ALTER EXTENSION "
               "dtm_pg UPDATE");
    }
}

void Executor::find_busy() {
    std::vector<std::string_view> gids;
    for (const TransCommand* c : commands_) gids.push_back(c->gid());
    for (const std::size_t i : held_by_others(gids)) {
        if (!answered_[i]) answer(i, What::busy);
    }
}

// ---- what is likely -----------------------------------------------------------------------------

void Executor::try_the_likely() {
    std::vector<Creation> creations;
    std::vector<Change> changes;
    std::vector<std::size_t> registrations;
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        if (answered_[i]) continue;
        if (is_likely_new(command(i))) {
            creations.push_back(creation(i));
        } else if (command(i).what == Command::register_branch) {
            registrations.push_back(i);
        } else if (const auto one = likely_change(i)) {
            changes.push_back(*one);
        }
    }
    carry_out(creations);
    carry_out(changes);
    carry_out_registrations(registrations);
}

void Executor::give_words(Change& change, const TransCommand& c) {
    if (!c.reason.empty()) change.reason = c.reason;
    if (!c.result.empty()) change.result = c.result;
}

// What of a prepared row can be written without having seen it.
std::optional<Change> Executor::likely_change(std::size_t i) {
    const TransCommand& c = command(i);
    const bool known = c.what == Command::submit || c.what == Command::finish ||
                       (c.what == Command::abort && !c.any_type);
    if (!known) return std::nullopt;
    const core::Found prepared{c.type(), Status::prepared};
    const core::Ruling ruling = core::rule(c.what, c.gid(), c.type(), prepared, c.end);
    if (ruling.what != core::Ruling::What::change) return std::nullopt;
    Change change;
    change.command = i;
    change.gid = c.gid();
    change.type = c.type();
    change.to = ruling.to;
    if (!core::is_final(change.to)) change.due = now_;
    give_words(change, c);
    if (c.what == Command::submit) {
        // With a delay, when it is due depends on when it was prepared.
        if (c.request->options.delay.count() > 0) return std::nullopt;
        change.expected = text(i);
    }
    return change;
}

// ---- writes -------------------------------------------------------------------------------------

Creation Executor::creation(std::size_t i) {
    const TransCommand& c = command(i);
    Creation row;
    row.command = i;
    row.gid = c.gid();
    row.type = c.type();
    row.status = c.what == Command::submit ? Status::submitted : Status::prepared;
    row.request = text(i);
    const core::State state = core::initial_state(*c.request, row.status, now_);
    // Nothing of it has run: so that nobody thinks otherwise when it is submitted.
    if (row.type == TransType::saga && row.status == Status::prepared) {
        row.progress = wire::encode_progress(state);
    }
    row.due = core::next_due(*c.request, state, policy_);
    row.interval_s = static_cast<std::int32_t>(core::base_interval(*c.request, policy_).count());
    return row;
}

void Executor::carry_out(const std::vector<Creation>& creations) {
    const std::vector<Creating> done = create(creations, role_, now_, careful_);
    if (!done.empty()) DTM_CRASH_POINT("store.transactions_created");
    for (std::size_t k = 0; k < creations.size(); ++k) {
        const Creation& c = creations[k];
        if (done[k] == Creating::busy) answer(c.command, What::busy);
        if (done[k] != Creating::created) continue;
        CommandResult& result = answer(c.command, What::done);
        result.changed = true;
        result.status = c.status;
        result.version = 1;
        result.create_time = now_;
        result.request = command(c.command).request;
        result.silent = !c.progress;
        if (c.due && *c.due > now_) result.rests.emplace();
    }
}

void Executor::carry_out(const std::vector<Change>& changes) {
    std::vector<Changed> done = change(changes, role_, now_);
    for (std::size_t k = 0; k < changes.size(); ++k) {
        if (!done[k].done) continue;
        const Change& c = changes[k];
        CommandResult& result = answer(c.command, What::done);
        result.changed = !done[k].aside || core::is_final(c.to);
        result.status = c.to;
        result.version = done[k].version;
        result.create_time = done[k].create_time;
        result.rollback_reason = std::move(done[k].rollback_reason);
        result.silent = done[k].silent;
        if (core::is_final(c.to)) {
            result.request.reset();
            continue;
        }
        if (c.to == Status::aborting) {
            result.request = readable_request(c.gid, c.type, done[k].request);
        } else if (!result.request) {
            result.request = command(c.command).request;
        }
        if (c.due && *c.due > now_) result.rests.emplace();
        if (!done[k].aside) continue;
        result.stored = std::exchange(result.request, nullptr);
        result.rests = "it is paused or was put aside, see dtm.attention";
    }
}

void Executor::carry_out_registrations(const std::vector<std::size_t>& which) {
    if (which.empty()) return;
    std::vector<const wire::Registration*> rows;
    rows.reserve(which.size());
    for (const std::size_t i : which) rows.push_back(&command(i).registration);
    const std::vector<bool> inserted = insert_registered(rows, role_, now_);
    for (std::size_t k = 0; k < which.size(); ++k) {
        if (inserted[k]) answer(which[k], What::done).changed = true;
    }
}

// The branches of what can be driven now; of a new row there are none yet.
void Executor::attach_branches() {
    const auto wants = [](const CommandResult& r) {
        return r.request && r.version > 1 && core::is_two_phase(r.request->type);
    };
    std::vector<std::string_view> gids;
    for (const CommandResult& r : results_) {
        if (wants(r)) gids.emplace_back(r.request->gid);
    }
    const RegisteredByGid all = registered(gids);
    for (CommandResult& r : results_) {
        if (!wants(r)) continue;
        const auto found = all.find(r.request->gid);
        if (found == all.end()) continue;
        auto whole = std::make_shared<core::Request>(*r.request);
        for (const wire::Registration& branch : found->second) {
            wire::add_registered(*whole, branch);
        }
        r.request = std::move(whole);
    }
}

}  // namespace dtm::store
