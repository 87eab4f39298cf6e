// Rows of dtm's own store (dtm-compat.md 6.1, 6.2) read as what our row says: a transaction that a
// dtm server has left unfinished becomes a request and the state it is in. Values in, values out:
// no table, no clock.
#pragma once

#include "wire/api_request.hpp"
#include "wire/request.hpp"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dtm::wire {

// One row of trans_global; NULL texts are empty.
struct DtmTrans {
    std::string gid;
    std::string trans_type;
    std::string status;
    std::string protocol;
    std::string query_prepared;
    std::string options;
    std::string custom_data;
    std::string ext_data;
    std::optional<core::Time> create_time;
    std::optional<core::Time> next_cron_time;
};

// One row of trans_branch_op.
struct DtmBranch {
    std::string branch_id;
    std::string op;
    std::string url;
    std::string status;
    std::string data;  // bytes
    std::optional<core::Time> create_time;
    std::optional<core::Time> finish_time;
};

struct DtmRegistration {
    Registration registration;
    core::Time create_time{};
};

struct Takeover {
    core::Request request;                    // tcc, xa: with their registered branches
    core::State state;                        // as `progress` says it
    std::string text;                         // encode_request()
    std::optional<std::string> progress;      // encode_progress(); none: nothing was called
    std::vector<DtmRegistration> registered;  // tcc, xa, workflow; in their order
};

// `branches` in the order of their ids. Throws BadRequest where the rows are not those of an
// unfinished transaction that this version can go on with; what() is a whole sentence.
//
// Statuses stay as they are. Of a saga's steps those may have run that dtm itself would undo
// (dtm-compat.md 5.5.3). What was to be called next is not called before dtm's next_cron_time: a
// service that has failed for long is not flooded by everything that waits for it. A message that
// was not submitted is not asked about before its timeout, either. How often it was called, dtm
// does not know; attempts and intervals begin anew.
Takeover take_over(const DtmTrans& trans, std::span<const DtmBranch> branches, core::Time now,
                   const core::Policy& policy, const Limits& limits = {});

}  // namespace dtm::wire
