// What a row of dtm.trans says about its branches. They are not stored one by one (but where they
// are registered one by one): request and progress are decoded, and what a missing progress means
// (fresh, or a clean success) is known here only. A text that cannot be decoded is a fact to show,
// not an error: the views must go on showing the others.
#pragma once

#include "core/types.hpp"
#include "store/registered.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::api {

struct RowTexts {
    std::string_view gid;
    std::string_view trans_type;
    std::string_view status;
    pg::UnixTime create_time{};
    std::optional<pg::UnixTime> finish_time;
    std::string_view request;
    std::optional<std::string_view> progress;
    std::vector<store::RegisteredRow> registered;  // tcc, xa, workflow
};
// Its registered branches, for a function that is given the other columns by a query: of a row that
// `viewer` may see, as that query's snapshot shows them. Opens its own scopes.
std::vector<store::RegisteredRow> registered_of(std::string_view gid, std::string_view trans_type,
                                                Oid viewer);

// A step of a workflow that its client has recorded.
struct Recorded {
    store::RegisteredRow row;
    core::OpState life;
};

struct Progress {
    core::Request request;
    core::State state;
    std::vector<Recorded> recorded;
    std::string unreadable;  // why, when it could not be decoded; then the rest is empty
};

Progress read_progress(const RowTexts&);

// One branch operation, in dtm's order: of a branch the operation that undoes it comes first.
struct Operation {
    const core::Branch* branch;  // null for branch 00 and for recorded steps
    std::uint32_t index;         // of the branch, or of the recorded step
    core::Op op;
    const core::OpState* life;
    bool may_have_run;
    std::string_view url;
    std::string_view branch_id;
    std::string_view op_name;
    std::string_view data;  // body of the call, or result of the step

    bool recorded() const { return branch == nullptr && op != core::Op::query; }
    std::string name() const { return std::string(branch_id) + " " + std::string(op_name); }
};
// Points into the progress.
std::vector<Operation> operations(const Progress&);

// The open operation with the most consecutive errors; null when there are fewer than `at_least`.
const Operation* worst(const std::vector<Operation>&, const core::State&, std::uint32_t at_least);

}  // namespace dtm::api
