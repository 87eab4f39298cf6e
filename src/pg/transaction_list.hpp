// Values that belong to the running transaction: each goes with the (sub)transaction that added it,
// and all of them with the top-level one, whether it commits, aborts or is PREPAREd. Knows nothing
// of what they mean.
#pragma once

#include "pg/call.hpp"

#include <utility>
#include <vector>

namespace dtm::pg {

// Objects of this class live as long as the process.
class TransactionScoped {
public:
    TransactionScoped(const TransactionScoped&) = delete;
    TransactionScoped& operator=(const TransactionScoped&) = delete;

protected:
    TransactionScoped() = default;
    ~TransactionScoped() = default;
    // Has PostgreSQL tell this object of ends, once per process.
    void watch();

    // An error here would be a PANIC: they allocate nothing.
    // `committed`: false for ROLLBACK and for PREPARE TRANSACTION, whose COMMIT comes from
    // elsewhere.
    virtual void end(bool committed) noexcept = 0;
    virtual void end_sub(SubTransactionId id, SubTransactionId parent, bool committed) noexcept = 0;

private:
    friend struct TransactionEvents;
    bool watched_ = false;
};

template <class T>
class TransactionList : public TransactionScoped {
public:
    struct Entry {
        T value;
        SubTransactionId subxact;
    };

    T& add(T value) {
        watch();
        entries_.push_back({std::move(value), GetCurrentSubTransactionId()});
        return entries_.back().value;
    }
    // In the order in which they were added.
    const std::vector<Entry>& entries() const noexcept { return entries_; }
    bool empty() const noexcept { return entries_.empty(); }

protected:
    virtual void removing(const T&) noexcept {}
    virtual void ending(bool /*committed*/) noexcept {}

private:
    void end(bool committed) noexcept final {
        ending(committed);
        entries_.clear();
        // A bulk load must not leave its high-water mark in a pooled session.
        if (entries_.capacity() > 1024) std::vector<Entry>().swap(entries_);
    }
    void end_sub(SubTransactionId id, SubTransactionId parent, bool committed) noexcept final {
        // What this subtransaction added is at the end: its released children carry its id by now.
        if (committed) {
            for (auto e = entries_.rbegin(); e != entries_.rend() && e->subxact == id; ++e) {
                e->subxact = parent;
            }
            return;
        }
        while (!entries_.empty() && entries_.back().subxact == id) {
            removing(entries_.back().value);
            entries_.pop_back();
        }
    }

    // Plain C++ heap: it must survive the reset of every memory context of the transaction.
    std::vector<Entry> entries_;
};

}  // namespace dtm::pg
