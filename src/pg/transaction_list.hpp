// Values that belong to the running transaction: each goes with the (sub)transaction that added it,
// and all of them with the top-level one, whether it commits, aborts or is PREPAREd. Knows nothing
// of what they mean.
#pragma once

#include "pg/call.hpp"

#include <string>
#include <unordered_map>
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

// A value per name, the last one given counts; a subtransaction that is rolled back takes its own
// back.
template <class T>
class TransactionMap final : private TransactionList<std::string> {
public:
    void put(const std::string& name, T value) {
        add(name);
        by_name_[name].push_back(std::move(value));
    }
    const T* find(const std::string& name) const {
        const auto found = by_name_.find(name);
        return found == by_name_.end() ? nullptr : &found->second.back();
    }

private:
    void removing(const std::string& name) noexcept override {
        const auto found = by_name_.find(name);
        if (found == by_name_.end()) return;
        found->second.pop_back();
        if (found->second.empty()) by_name_.erase(found);
    }
    void ending(bool) noexcept override {
        // Not clear(): it would keep the buckets of a bulk load, and wipe them each time.
        if (!by_name_.empty()) decltype(by_name_)().swap(by_name_);
    }

    std::unordered_map<std::string, std::vector<T>> by_name_;
};

}  // namespace dtm::pg
