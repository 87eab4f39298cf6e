// See pending.hpp. The callbacks run where an error would be a PANIC: they allocate nothing.
#include "hub/pending.hpp"

#include "hub/shared.hpp"
#include "pg/call.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace dtm::hub {
namespace {

struct Entry {
    std::string gid;
    SubTransactionId subxact;
};

// Plain C++ heap: it must survive the reset of every memory context of the transaction.
std::vector<Entry> entries;
bool database_check = false;
SubTransactionId database_check_subxact = InvalidSubTransactionId;

void on_transaction_end(XactEvent event, void*) {
    switch (event) {
        case XACT_EVENT_COMMIT:
        case XACT_EVENT_PARALLEL_COMMIT:
            for (const Entry& e : entries) announce(e.gid);
            if (database_check) announce_database(MyDatabaseId);
            break;
        case XACT_EVENT_ABORT:
        case XACT_EVENT_PARALLEL_ABORT:
        case XACT_EVENT_PREPARE:
            break;
        default:
            return;  // PRE_COMMIT and PRE_PREPARE: not over yet
    }
    entries.clear();
    // A bulk submit must not leave its high-water mark in a pooled session.
    if (entries.capacity() > 1024) std::vector<Entry>().swap(entries);
    database_check = false;
}

void on_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
                           void*) {
    // What this subtransaction added is at the end: its released children carry its id by now.
    if (event == SUBXACT_EVENT_COMMIT_SUB) {
        for (auto e = entries.rbegin(); e != entries.rend() && e->subxact == id; ++e)
            e->subxact = parent;
        if (database_check_subxact == id) database_check_subxact = parent;
    } else if (event == SUBXACT_EVENT_ABORT_SUB) {
        while (!entries.empty() && entries.back().subxact == id) entries.pop_back();
        if (database_check_subxact == id) database_check = false;
    }
}

void register_callbacks() {
    static bool done = false;
    if (done) return;
    pg::call([] {
        RegisterXactCallback(on_transaction_end, nullptr);
        RegisterSubXactCallback(on_subtransaction_end, nullptr);
    });
    done = true;
}

}  // namespace

void pending_add(std::string_view gid) {
    register_callbacks();
    entries.push_back({std::string(gid), GetCurrentSubTransactionId()});
}

bool pending_contains(std::string_view gid) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const Entry& e) { return e.gid == gid; });
}

void pending_database_check() {
    register_callbacks();
    database_check = true;
    database_check_subxact = GetCurrentSubTransactionId();
}

}  // namespace dtm::hub
