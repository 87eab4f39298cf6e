// See branch_context.hpp; and dtm_branch, which sets the context.
#include "api/branch_context.hpp"

#include "pg/transaction_list.hpp"
#include "wire/branch_query.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace dtm::api {
namespace {

struct Named {
    BarrierBranch branch;
    bool by_hand;  // with dtm_branch(); else a barrier was passed
};
class Branches final : public pg::TransactionList<Named> {};
Branches branches;

// What the barrier said in this transaction, the last time about each branch and op.
pg::TransactionMap<Passage> decisions;

// The statement of a dtm_barrier_call is running: its branch, and how many had been named before.
struct Running {
    const BarrierBranch* branch = nullptr;
    std::size_t named_before = 0;
};
Running running;

const std::string& in_query(const std::optional<std::string>& value, const char* name) {
    if (value) return *value;
    throw pg::SqlError("TD001", std::string("the query string has no ") + name,
                       "Field: query_string", where_from);
}

// What is percent-encoded is UTF-8, whatever the database is in. Both refuse what is not valid.
std::string as_utf8(const std::string& text) {
    const char* data = text.data();
    const int size = static_cast<int>(text.size());
    const char* converted = pg::call([&] { return pg_server_to_any(data, size, PG_UTF8); });
    return converted == data ? text : std::string(converted);
}
std::string from_utf8(const std::string& text) {
    const char* data = text.data();
    const int size = static_cast<int>(text.size());
    const char* converted = pg::call([&] { return pg_any_to_server(data, size, PG_UTF8); });
    return converted == data ? text : std::string(converted);
}

BarrierBranch branch_of_query(const std::optional<std::string>& text) {
    if (!text || text->empty()) {
        throw pg::SqlError("TD001", std::string("the query string is ") + (text ? "empty" : "NULL"),
                           "Field: query_string",
                           "Pass what follows the ? in the URL of the branch call.");
    }
    wire::BranchQuery query = wire::parse_branch_query(as_utf8(*text));
    for (auto* field : {&query.trans_type, &query.gid, &query.branch_id, &query.op}) {
        if (*field) **field = from_utf8(**field);
    }
    if (query.ambiguous) {
        throw pg::SqlError("TD001", "the query string has two values for " + *query.ambiguous,
                           "Field: query_string",
                           "Give the parameter in the URL of the step another name: the "
                           "coordinator adds gid, branch_id, op and trans_type.");
    }
    const std::string& gid = in_query(query.gid, "gid");
    const std::string& branch_id = in_query(query.branch_id, "branch_id");
    const std::string& op = in_query(query.op, "op");
    return parse_barrier_branch(in_query(query.trans_type, "trans_type"), gid, branch_id, op);
}

void enter(FunctionCallInfo fcinfo, BarrierBranch branch) {
    require_company(fcinfo, "dtm_branch");
    branches.add({std::move(branch), true});
}

}  // namespace

Passage pass_and_note(const BarrierBranch& branch, const std::optional<std::string>& barrier_id) {
    Passage passage = pass_barrier(branch, barrier_id);
    decisions.put(barrier_identity(branch), passage);
    return passage;
}

Passage pass_for_transaction(const BarrierBranch& branch,
                             const std::optional<std::string>& barrier_id) {
    Passage passage = pass_and_note(branch, barrier_id);
    const bool by_hand = !branches.empty() && branches.entries().back().value.by_hand;
    // Within a running statement it is the statement's, which ends before the transaction does.
    if (!by_hand && running.branch == nullptr) branches.add({branch, false});
    return passage;
}

BehindBarrier::BehindBarrier(const BarrierBranch& branch)
    : branch_before_(running.branch), named_before_(running.named_before) {
    running = {&branch, branches.entries().size()};
}

BehindBarrier::~BehindBarrier() { running = {branch_before_, named_before_}; }

const BarrierBranch* current_branch() {
    const auto& named = branches.entries();
    // Named within the running statement, or there is none.
    if (running.branch != nullptr && named.size() <= running.named_before) return running.branch;
    return named.empty() ? nullptr : &named.back().value.branch;
}

Passage decide_for_branch() {
    const BarrierBranch branch = *current_branch();
    const std::string identity = barrier_identity(branch);
    const Passage* known = decisions.find(identity);
    Passage passage = known != nullptr ? *known : pass_barrier(branch);
    (void)may_run(branch, passage);  // dtm_barrier_verdict() has only told
    if (known == nullptr) decisions.put(identity, passage);
    return passage;
}

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_branch) {
    api::enter(fcinfo, api::barrier_branch_args(fcinfo));
    PG_RETURN_VOID();
}

DTM_FUNCTION(dtm_branch_query) {
    api::enter(fcinfo, api::branch_of_query(pg::opt_text_arg(fcinfo, 0)));
    PG_RETURN_VOID();
}
