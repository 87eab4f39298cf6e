// See progress.hpp.
#include "api/progress.hpp"

#include "core/decide.hpp"
#include "pg/call.hpp"
#include "wire/branch_call.hpp"
#include "wire/stored.hpp"

#include <tuple>

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

void decode(Progress& p, const RowTexts& row) {
    const auto type = core::parse_trans_type(row.trans_type);
    const auto status = core::parse_status(row.status);
    if (!type) throw std::runtime_error("unknown trans_type " + std::string(row.trans_type));
    if (!status) throw std::runtime_error("unknown status " + std::string(row.status));
    p.request = wire::decode_request(row.gid, *type, row.request);
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

std::vector<Operation> operations(const Progress& p) {
    std::vector<Operation> all;
    if (!p.unreadable.empty()) return all;
    if (p.state.query.attempts > 0 || p.state.query.kept_back) {
        all.push_back({nullptr, 0, Op::query, &p.state.query, true, p.request.query_prepared});
    }
    for (std::uint32_t i = 0; i < p.request.branches.size(); ++i) {
        const core::Branch& branch = p.request.branches[i];
        const core::BranchState& state = p.state.branches[i];
        if (p.request.type == core::TransType::saga) {
            all.push_back({&branch, i, Op::compensate, &state.compensate,
                           state.compensate.attempts > 0, branch.compensate});
        }
        all.push_back({&branch, i, Op::action, &state.action, state.may_have_run, branch.action});
    }
    return all;
}

namespace {

bool is_open(const Operation& o, const core::State& state) {
    // Once a saga is undone, what became of its actions is history.
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

}  // namespace dtm::api
