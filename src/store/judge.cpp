// What a batch of commands could not do without looking: see executor.hpp.
#include "core/decide.hpp"
#include "crash_point.hpp"
#include "store/control.hpp"
#include "store/executor.hpp"
#include "store/hurry.hpp"
#include "store/merge.hpp"
#include "store/verbs.hpp"
#include "wire/stored.hpp"

extern "C" {
#include "miscadmin.h"
#include "utils/acl.h"
}

#include <unordered_map>

namespace dtm::store {

using core::Command;
using core::Status;
using core::TransType;

namespace {

// Null when it cannot be read.
std::shared_ptr<const core::Request> readable_request(const Row& row) {
    try {
        return std::make_shared<core::Request>(request_of(row));
    } catch (const std::runtime_error&) {
        return nullptr;
    }
}

}  // namespace

void Executor::judge_open() {
    std::vector<std::string_view> gids;
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        if (!answered_[i]) gids.push_back(command(i).gid());
    }
    const std::vector<Row> rows = load_locked(gids);  // find_busy() has seen whom it would wait for
    std::unordered_map<std::string_view, const Row*> by_gid;
    for (const Row& row : rows) by_gid.emplace(row.gid, &row);
    creations_.clear();
    changes_.clear();
    registrations_.clear();
    for (std::size_t i = 0; i < commands_.size(); ++i) {
        if (answered_[i]) continue;
        const auto found = by_gid.find(command(i).gid());
        if (found == by_gid.end()) {
            judge_unknown(i);
        } else {
            judge(i, *found->second);
        }
    }
    carry_out(creations_);
    carry_out(changes_);
    carry_out_registrations(registrations_);
}

void Executor::judge_unknown(std::size_t i) {
    const TransCommand& c = command(i);
    core::Ruling ruling = core::rule(c.what, c.gid(), c.type(), std::nullopt, c.end);
    if (ruling.what != core::Ruling::What::create) {
        const bool failure = ruling.what == core::Ruling::What::failure;
        return refuse(i, failure ? What::failure : What::error, Refusal::unknown,
                      std::move(ruling.refusal));
    }
    if (core::lists_steps(c.type()) && !has_steps(*c.request)) {
        return refuse(i, What::error, Refusal::no_steps, "steps are missing");
    }
    creations_.push_back(creation(i));
}

void Executor::judge(std::size_t i, const Row& row) {
    const Oid owner = row.owner;
    const Oid role = role_;
    if (!pg::call([&] { return has_privs_of_role(role, owner); })) {
        return refuse(i, What::failure, Refusal::foreign,
                      "gid " + row.gid + " is in use by another role. FAILURE");
    }
    const auto unreadable = [&](const std::string& why) {
        refuse(i, What::error, Refusal::unreadable, "gid " + row.gid + " cannot be read: " + why);
    };
    if (row.unreadable) return unreadable(*row.unreadable);
    try {
        const TransCommand& c = command(i);
        judge_readable(i, row, c.any_type ? row.type : c.type());
    } catch (const std::runtime_error& error) {  // of its texts; PgError is of another kind
        unreadable(error.what());
    }
}

void Executor::judge_readable(std::size_t i, const Row& row, TransType type) {
    const TransCommand& c = command(i);
    if (c.strict && judge_strictly(i, row)) return;
    const core::Found found{row.type, row.status};
    core::Ruling ruling = core::rule(c.what, c.gid(), type, found, c.end);
    switch (ruling.what) {
        case core::Ruling::What::create:
        case core::Ruling::What::nothing:
            return leave(i, row);
        case core::Ruling::What::change:
            return change_found(i, row, ruling.to);
        case core::Ruling::What::insert:
            return register_found(i, row);
        case core::Ruling::What::hurry:
            return hurry(i, row);
        case core::Ruling::What::failure:
        case core::Ruling::What::error:
            break;
    }
    refuse(i, ruling.what == core::Ruling::What::failure ? What::failure : What::error,
           type == row.type ? Refusal::status : Refusal::other_type, std::move(ruling.refusal),
           &row);
}

bool Executor::differs(std::size_t i, const Row& row) {
    if (text(i) == row.request) return false;
    const core::Request& given = *command(i).request;
    const core::Request stored = wire::decode_request(row.gid, row.type, row.request);
    if (has_steps(given) && !same_steps(stored, given)) return true;
    return wire::encode_request(merged(stored, given)) != row.request;
}

// True: answered.
bool Executor::judge_strictly(std::size_t i, const Row& row) {
    const TransCommand& c = command(i);
    const bool submit = c.what == Command::submit;
    if ((!submit && c.what != Command::prepare) || row.type != c.type()) return false;
    if (submit && row.status == Status::prepared) return false;  // merge_found() compares
    if (differs(i, row)) {
        refuse(i, What::failure, Refusal::other_request,
               "gid " + row.gid + " is in use by a different request. FAILURE", &row);
        return true;
    }
    if (!submit) return false;
    if (core::is_final(row.status)) {
        refuse(i, What::failure, Refusal::finished,
               "gid " + row.gid + " is in use by a finished transaction. FAILURE", &row);
    } else {
        leave(i, row);
    }
    return true;
}

void Executor::change_found(std::size_t i, const Row& row, Status to) {
    const TransCommand& c = command(i);
    if (c.what == Command::force_stop) return stop_found(i, row);
    Change change;
    change.command = i;
    change.gid = c.gid();
    change.type = row.type;
    change.from = row.status;
    change.to = to;
    give_words(change, c);
    if (to == Status::aborting) change.due = now_;
    if (c.what == Command::submit && !merge_found(i, row, change)) return;
    changes_.push_back(change);
}

// False: refused.
bool Executor::merge_found(std::size_t i, const Row& row, Change& change) {
    auto in_effect = command(i).request;
    if (text(i) != row.request) {
        const core::Request stored = wire::decode_request(row.gid, row.type, row.request);
        if (command(i).strict && has_steps(*in_effect) && !same_steps(stored, *in_effect)) {
            refuse(i, What::failure, Refusal::other_request,
                   "gid " + row.gid + " is in use by a different request. FAILURE", &row);
            return false;
        }
        in_effect = std::make_shared<core::Request>(merged(stored, *in_effect));
        new_texts_[i] = wire::encode_request(*in_effect);
        if (new_texts_[i] != row.request) change.request = new_texts_[i];
    }
    const core::State state = core::initial_state(*in_effect, Status::submitted, row.create_time);
    change.due = std::max(now_, core::next_due(*in_effect, state, policy_).value_or(now_));
    results_[i].request = std::move(in_effect);
    return true;
}

void Executor::stop_found(std::size_t i, const Row& row) {
    const std::string by = role_name(role_);
    const std::string reason = "forceStop by role " + by;
    stop(row.gid, to_string(Status::failed), reason, now_);
    record_event(row.gid, "force_stop", by, "status was " + std::string(to_string(row.status)));
    DTM_CRASH_POINT("store.stop_written");
    leave(i, row);
    CommandResult& result = results_[i];
    result.changed = true;
    result.status = Status::failed;
    ++result.version;
    if (result.rollback_reason.empty()) result.rollback_reason = reason;
}

void Executor::register_found(std::size_t i, const Row& row) {
    const wire::Registration& given = command(i).registration;
    const std::vector<wire::Registration> all = registrations(row.gid, row.type);
    std::size_t bytes = 0;
    for (const wire::Registration& there : all) {
        bytes += there.data.size();
        if (there.branch_id != given.branch_id || there.op != given.op) continue;
        const bool same =
            there.url == given.url && there.cancel == given.cancel && there.data == given.data;
        // A reply was lost and the client asks again (D28). Of the steps of a workflow, however,
        // only one of two executors may have recorded it.
        if (same && core::is_two_phase(row.type)) {
            answer(i, What::done);
            return;
        }
        const std::string op = given.op.empty() ? "" : ", operation " + given.op + ",";
        return refuse(i, What::error, Refusal::other_branch,
                      "storage: UniqueKeyConflict: branch " + given.branch_id + op + " of gid " +
                          row.gid + " is registered already",
                      &row);
    }
    if (all.size() >= most_registered || bytes >= most_registered_bytes) {
        return refuse(i, What::error, Refusal::too_many,
                      "gid " + row.gid + " has " + std::to_string(all.size()) + " branches with " +
                          std::to_string(bytes) + " bytes of data: the limits are " +
                          std::to_string(most_registered) + " and " +
                          std::to_string(most_registered_bytes),
                      &row);
    }
    registrations_.push_back(i);
}

void Executor::hurry(std::size_t i, const Row& row) {
    const bool asked = command(i).what == Command::hurry;
    if (asked && is_paused(row.attention)) {
        return refuse(i, What::failure, Refusal::paused,
                      "gid " + row.gid + " is " + *row.attention + ". FAILURE", &row);
    }
    leave(i, row);
    CommandResult& result = results_[i];
    if (core::is_final(row.status)) return;
    result.stored = readable_request(row);
    // A repeated submit does not take up what was put aside; an operator does.
    if (row.attention && !asked) {
        result.rests = *row.attention;
        return;
    }
    // Due already: written again it would only lose what its coordinator knows of calls under way.
    result.changed = row.next_cron_time && *row.next_cron_time <= now_;
    if (result.changed && !asked) return;
    const Hurried hurried = hurried_up(row, now_, policy_);
    if (result.changed) {
        result.waits_beside = hurried.waited;
        if (hurried.waited) record_event(row.gid, "retry_now", role_name(role_), "");
        return;
    }
    if (!row.attention && (!hurried.due || *hurried.due > now_)) {
        result.rests.emplace();
        return;
    }
    make_due(row.gid, hurried.progress, hurried.due, now_);
    if (asked) record_event(row.gid, "retry_now", role_name(role_), "");
    DTM_CRASH_POINT("store.hurry_written");
    result.changed = true;
    ++result.version;
    result.silent = result.silent && !hurried.progress;
}

}  // namespace dtm::store
