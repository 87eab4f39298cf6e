// See progress.hpp.
#include "wire/progress.hpp"

#include "core/decide.hpp"
#include "wire/branch_call.hpp"
#include "wire/stored.hpp"

#include <tuple>

namespace dtm::wire {

namespace {

using core::Op;
using core::TransType;

// The coordinator leaves progress out when every action succeeded at its first call.
void fill_clean_success(Progress& p, const RowTexts& row) {
    p.state = core::initial_state(p.request, core::Status::succeed, row.create_time);
    for (std::size_t i = 0; i < p.state.branches.size(); ++i) {
        core::BranchState& b = p.state.branches[i];
        b.may_have_run = true;
        b.action.status = core::BranchStatus::succeed;
        b.action.attempts = p.request.branches[i].action.empty() ? 0 : 1;
        b.action.finished = row.finish_time;
    }
}

void add_registered(Progress& p, const std::vector<Registration>& registered) {
    for (const Registration& r : registered) {
        if (p.request.type == TransType::workflow) {
            OwnStep& step = p.own_steps.emplace_back(OwnStep{r, {}});
            step.life.status = r.status;
        } else {
            add_registered(p.request, r);
        }
    }
}

void decode(Progress& p, const RowTexts& row) {
    const auto type = core::parse_trans_type(row.trans_type);
    const auto status = core::parse_status(row.status);
    if (!type) throw std::runtime_error("unknown trans_type " + std::string(row.trans_type));
    if (!status) throw std::runtime_error("unknown status " + std::string(row.status));
    p.request = decode_request(row.gid, *type, row.request);
    add_registered(p, row.registered);
    if (row.progress) {
        p.state.status = *status;
        p.state.create_time = row.create_time;
        decode_progress(p.request, *row.progress, p.state);
    } else if (*status == core::Status::succeed) {
        fill_clean_success(p, row);
    } else {
        p.state = core::recovered_fresh_state(p.request, *status, row.create_time);
    }
}

}  // namespace

Progress read_progress(const RowTexts& row) {
    Progress p;
    try {
        decode(p, row);
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& e) {
        p = Progress{};
        p.unreadable = e.what();
    }
    return p;
}

namespace {

// What is called before it is written is known by what the row does not say. Of tcc and xa every
// call of the phase that was decided may have left, none before.
bool may_have_run(const Progress& p, std::uint32_t branch, Op op) {
    const core::State& state = p.state;
    const core::BranchState& b = state.branches[branch];
    const core::OpState& life = op == Op::action ? b.action : b.compensate;
    if (life.attempts > 0) return true;
    if (!core::is_two_phase(p.request.type)) {
        return op == Op::action && b.may_have_run && state.status != core::Status::prepared;
    }
    const auto calling = op == Op::action ? core::Status::submitted : core::Status::aborting;
    return life.status == core::BranchStatus::succeed ||
           (state.durable_fresh && state.status == calling);
}

}  // namespace

std::vector<Operation> operations(const Progress& p) {
    std::vector<Operation> all;
    if (!p.unreadable.empty()) return all;
    const core::Request& request = p.request;
    if (p.state.query.attempts > 0 || p.state.query.kept_back) {
        all.push_back({nullptr, 0, Op::query, &p.state.query, true, request.query_prepared, "00",
                       op_name(request, Op::query), request.workflow_data});
    }
    const auto add = [&](std::uint32_t i, Op op, const core::OpState& life) {
        const core::Branch& branch = request.branches[i];
        all.push_back({&branch, i, op, &life, may_have_run(p, i, op), branch_url(request, i, op),
                       branch.branch_id, op_name(request, op), request.payloads[branch.step]});
    };
    for (std::uint32_t i = 0; i < request.branches.size(); ++i) {
        const core::BranchState& state = p.state.branches[i];
        if (request.type != TransType::msg) {
            add(i, Op::compensate, state.compensate);
        }
        add(i, Op::action, state.action);
    }
    for (const OwnStep& step : p.own_steps) {
        const Registration& r = step.registration;
        all.push_back({nullptr, 0, Op::action, &step.life, true, {}, r.branch_id, r.op, r.data});
    }
    return all;
}

namespace {

bool is_open(const Operation& o, const core::State& state) {
    // Once it is being undone, what became of its actions is history.
    if (state.status == core::Status::aborting && o.op == Op::action) return false;
    // The client of a message may have spoken before he was asked.
    if (state.status != core::Status::prepared && o.op == Op::query) return false;
    return o.life->status == core::BranchStatus::prepared;
}

}  // namespace

const Operation* worst(const std::vector<Operation>& all, const core::State& state,
                       std::uint32_t at_least) {
    const Operation* found = nullptr;
    for (const Operation& o : all) {
        if (!is_open(o, state) || o.life->errors < at_least) continue;
        if (found == nullptr || o.life->errors > found->life->errors) found = &o;
    }
    return found;
}

const Operation* kept_back(const std::vector<Operation>& all, const core::State& state) {
    const auto seriousness = [](const Operation& o) {
        const core::KeptBack& kept = *o.life->kept_back;
        return std::tuple(kept.hold != core::Hold::breaker, kept.since);
    };
    const Operation* found = nullptr;
    for (const Operation& o : all) {
        if (!is_open(o, state) || !o.life->kept_back) continue;
        if (found == nullptr || seriousness(o) < seriousness(*found)) found = &o;
    }
    return found;
}

std::string branches_json(const RowTexts& row, core::Time update_time, const Progress& progress,
                          TimeText time_text) {
    std::vector<std::string> all;
    for (const Operation& o : operations(progress)) {
        if (o.op == Op::query) continue;
        BranchAnswer branch;
        branch.id = static_cast<std::int64_t>(all.size()) + 1;
        branch.create_time = row.create_time;
        branch.update_time = o.life->finished.value_or(update_time);
        branch.finish_time = o.life->finished;
        branch.gid = row.gid;
        branch.url = o.url;
        branch.bin_data = o.payload;
        branch.branch_id = o.id;
        branch.op = o.op_text;
        branch.status = core::to_string(o.life->status);
        all.push_back(branch_json(branch, time_text));
    }
    return json_list(all);
}

}  // namespace dtm::wire
