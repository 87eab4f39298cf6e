// See transaction.hpp. An abort that fails itself is beyond repair for this process: PostgreSQL
// turns it into a FATAL or PANIC of its own, so the destructors need no fallback.
#include "pg/transaction.hpp"

extern "C" {
#include "utils/resowner.h"
#include "utils/snapmgr.h"
}

namespace dtm::pg {

Transaction::Transaction() {
    try {
        call([] {
            SetCurrentStatementStartTimestamp();
            StartTransactionCommand();
            PushActiveSnapshot(GetTransactionSnapshot());
        });
    } catch (...) {
        AbortCurrentTransaction();  // there will be no object whose destructor does it
        throw;
    }
}

Transaction::~Transaction() {
    if (open_) AbortCurrentTransaction();
}

void Transaction::commit() {
    call([] {
        if (ActiveSnapshotSet()) PopActiveSnapshot();
        CommitTransactionCommand();
    });
    open_ = false;
}

void renew_snapshot() {
    call([] {
        CommandCounterIncrement();
        PopActiveSnapshot();
        PushActiveSnapshot(GetTransactionSnapshot());
    });
}

Subtransaction::Subtransaction() : memory_(CurrentMemoryContext), owner_(CurrentResourceOwner) {
    call([] { BeginInternalSubTransaction(nullptr); });
    MemoryContextSwitchTo(memory_);
}

Subtransaction::~Subtransaction() {
    if (!open_) return;
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(memory_);
    CurrentResourceOwner = owner_;
}

void Subtransaction::commit() {
    call([] { ReleaseCurrentSubTransaction(); });
    open_ = false;
    MemoryContextSwitchTo(memory_);
    CurrentResourceOwner = owner_;
}

}  // namespace dtm::pg
