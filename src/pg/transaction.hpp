// Transactions of a background worker, and subtransactions. They are the only places where a
// PgError may be swallowed (rule 6 of call.hpp): leaving the scope without commit() aborts.
#pragma once

#include "pg/call.hpp"

namespace dtm::pg {

// A transaction with an active snapshot, for code that runs outside of any (a background worker).
class Transaction {
public:
    Transaction();
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    void commit();

private:
    bool open_ = true;
};

// From here on the active snapshot shows what this transaction wrote and others have committed.
void renew_snapshot();

// A savepoint; restores the caller's memory context and resource owner.
class Subtransaction {
public:
    Subtransaction();
    ~Subtransaction();
    Subtransaction(const Subtransaction&) = delete;
    Subtransaction& operator=(const Subtransaction&) = delete;
    void commit();

private:
    MemoryContext memory_;
    struct ResourceOwnerData* owner_;
    bool open_ = true;
};

}  // namespace dtm::pg
