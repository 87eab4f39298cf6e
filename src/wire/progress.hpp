// What a row of dtm.trans says about its branches. They are not stored one by one: request and
// progress are decoded, registered branches are added, and what a missing progress means (fresh, or
// a clean success) is known here only. A text that cannot be decoded is a fact to show, not an
// error: who asks for many rows must go on getting the others.
#pragma once

#include "core/types.hpp"
#include "wire/api_answer.hpp"
#include "wire/api_request.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::wire {

struct RowTexts {
    std::string_view gid;
    std::string_view trans_type;
    std::string_view status;
    core::Time create_time{};
    std::optional<core::Time> finish_time;
    std::string_view request;
    std::optional<std::string_view> progress;
    // tcc, xa: its branches; workflow: the steps that have ended. In the order of registration.
    std::vector<Registration> registered;
};

// A step that a workflow's client has done by itself.
struct OwnStep {
    Registration registration;
    core::OpState life;
};

struct Progress {
    core::Request request;
    core::State state;
    std::vector<OwnStep> own_steps;
    std::string unreadable;  // why, when it could not be decoded; then the rest is empty
};

Progress read_progress(const RowTexts&);

// One branch operation. Points into the progress.
struct Operation {
    const core::Branch* branch;  // null for a question (branch 00) and for a workflow's own step
    std::uint32_t index;
    core::Op op;
    const core::OpState* life;
    bool may_have_run;
    std::string_view url;
    std::string_view id;       // branch_id
    std::string_view op_text;  // the operation's name on the wire
    std::string_view payload;  // workflow: the step's result

    std::string_view branch_id() const { return id; }
    std::string_view op_name() const { return op_text; }
    std::string name() const { return std::string(id) + " " + std::string(op_text); }
};
// In dtm's order (dtm-compat.md 0.4, rule 6): of a branch, what undoes it comes first.
std::vector<Operation> operations(const Progress&);

// The open operation with the most consecutive errors; null when there are fewer than `at_least`.
const Operation* worst(const std::vector<Operation>&, const core::State&, std::uint32_t at_least);

// The operations as dtm's GET query lists them: without a question, which is no branch. `row` is
// the one that the progress was read from.
std::string branches_json(const RowTexts& row, core::Time update_time, const Progress&,
                          TimeText = rfc3339);

}  // namespace dtm::wire
