// See progress.hpp.
#include "api/progress.hpp"

#include "core/decide.hpp"
#include "store/access.hpp"
#include "store/lookup.hpp"
#include "wire/branch_call.hpp"
#include "wire/stored.hpp"

namespace dtm::api {

namespace {

using core::Op;

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

bool is_two_phase(core::TransType type) {
    return type == core::TransType::tcc || type == core::TransType::xa;
}

void add_registered(Progress& p, const RowTexts& row) {
    for (const store::RegisteredRow& r : row.registered) {
        if (is_two_phase(p.request.type)) wire::add_registered(p.request, r.registration);
        if (p.request.type != core::TransType::workflow) continue;
        Recorded step{r, {}};
        step.life.status = r.registration.status;
        step.life.finished = r.create_time;
        p.recorded.push_back(std::move(step));
    }
}

void decode(Progress& p, const RowTexts& row) {
    const auto type = core::parse_trans_type(row.trans_type);
    const auto status = core::parse_status(row.status);
    if (!type) throw std::runtime_error("unknown trans_type " + std::string(row.trans_type));
    if (!status) throw std::runtime_error("unknown status " + std::string(row.status));
    p.request = wire::decode_request(row.gid, *type, row.request);
    add_registered(p, row);
    if (row.progress) {
        p.state.status = *status;
        p.state.create_time = row.create_time;
        wire::decode_progress(p.request, *row.progress, p.state);
    } else if (*status == core::Status::succeed) {
        fill_clean_success(p, row);
    } else {
        p.state = core::recovered_fresh_state(p.request, *status, row.create_time);
    }
}

}  // namespace

std::vector<store::RegisteredRow> registered_of(std::string_view gid, std::string_view trans_type,
                                                Oid viewer) {
    const auto type = core::parse_trans_type(trans_type);
    const bool has_some = type && (is_two_phase(*type) || *type == core::TransType::workflow);
    if (!has_some) return {};
    const store::AsOwner as_owner;
    if (!store::find_status(gid, viewer)) return {};
    return store::registered(gid, true);
}

Progress read_progress(const RowTexts& row) {
    Progress p;
    try {
        decode(p, row);
    } catch (const pg::PgError&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (const std::exception& e) {
        p = Progress{};
        p.unreadable = e.what();
    }
    return p;
}

namespace {

// What is called before it is written is known by what the row does not say.
bool may_have_run(const Progress& p, std::uint32_t branch, Op op) {
    const core::State& state = p.state;
    const core::BranchState& b = state.branches[branch];
    const core::OpState& life = op == Op::action ? b.action : b.compensate;
    if (life.attempts > 0) return true;
    if (!is_two_phase(p.request.type)) {
        return op == Op::action && b.may_have_run && state.status != core::Status::prepared;
    }
    const auto calling = op == Op::action ? core::Status::submitted : core::Status::aborting;
    return life.status == core::BranchStatus::succeed ||
           (state.durable_fresh && state.status == calling);
}

Operation operation(const Progress& p, std::uint32_t index, Op op) {
    const core::Branch& branch = p.request.branches[index];
    const core::BranchState& state = p.state.branches[index];
    return {&branch,
            index,
            op,
            op == Op::action ? &state.action : &state.compensate,
            may_have_run(p, index, op),
            wire::branch_url(p.request, index, op),
            branch.branch_id,
            wire::op_name(p.request, op),
            p.request.payloads[branch.step]};
}

}  // namespace

std::vector<Operation> operations(const Progress& p) {
    std::vector<Operation> all;
    if (!p.unreadable.empty()) return all;
    if (p.state.query.attempts > 0) {
        all.push_back({nullptr, 0, Op::query, &p.state.query, true, p.request.query_prepared, "00",
                       wire::op_name(p.request, Op::query), p.request.workflow_data});
    }
    for (std::uint32_t i = 0; i < p.request.branches.size(); ++i) {
        if (p.request.type != core::TransType::msg) {
            all.push_back(operation(p, i, Op::compensate));
        }
        all.push_back(operation(p, i, Op::action));
    }
    for (std::uint32_t i = 0; i < p.recorded.size(); ++i) {
        const wire::Registration& step = p.recorded[i].row.registration;
        all.push_back({nullptr, i, Op::action, &p.recorded[i].life, true, "", step.branch_id,
                       step.op, step.data});
    }
    return all;
}

const Operation* worst(const std::vector<Operation>& all, const core::State& state,
                       std::uint32_t at_least) {
    const Operation* found = nullptr;
    for (const Operation& o : all) {
        // Once all is undone, the errors of actions are history.
        if (state.status == core::Status::aborting && o.op == Op::action) continue;
        if (o.life->status != core::BranchStatus::prepared || o.life->errors < at_least) continue;
        if (found == nullptr || o.life->errors > found->life->errors) found = &o;
    }
    return found;
}

}  // namespace dtm::api
