// What a row of dtm.trans says about its branches. They are not stored one by one: request and
// progress are decoded, and what a missing progress means (fresh, or a clean success) is known here
// only. A text that cannot be decoded is a fact to show, not an error: the views must go on showing
// the others.
#pragma once

#include "core/types.hpp"
#include "pg/time.hpp"

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
};

struct Progress {
    core::Request request;
    core::State state;
    std::string unreadable;  // why, when it could not be decoded; then the rest is empty
};

Progress read_progress(const RowTexts&);

// One branch operation, in dtm's order: of a saga's branch the compensation comes first.
struct Operation {
    const core::Branch* branch;  // null for the question of a message (branch 00)
    std::uint32_t index;
    core::Op op;
    const core::OpState* life;
    bool may_have_run;
    std::string_view url;

    std::string_view branch_id() const {
        return branch ? std::string_view(branch->branch_id) : "00";
    }
    std::string_view op_name() const { return op == core::Op::query ? "msg" : core::to_string(op); }
    std::string name() const { return std::string(branch_id()) + " " + std::string(op_name()); }
};
// Points into the progress.
std::vector<Operation> operations(const Progress&);

// The open operation with the most consecutive errors; null when there are fewer than `at_least`.
const Operation* worst(const std::vector<Operation>&, const core::State&, std::uint32_t at_least);
// The open operation that is kept back, null when there is none; of several the one that needs a
// person most: its host is dead, then for longest.
const Operation* kept_back(const std::vector<Operation>&, const core::State&);

}  // namespace dtm::api
