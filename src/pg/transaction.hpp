// Transactions of a background worker, and subtransactions. They are the only places where a
// PgError may be swallowed (rule 6 of call.hpp): leaving the scope without commit() aborts.
#pragma once

#include "pg/spi.hpp"

#include <type_traits>

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

// Runs `body` in a transaction of its own, with SPI connected, and returns what it returns after
// the commit.
template <class F>
std::invoke_result_t<F&> in_transaction(F&& body) {
    Transaction transaction;
    const auto connected = [&body] {
        const Spi spi;
        return body();
    };
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
        connected();
        transaction.commit();
    } else {
        std::invoke_result_t<F&> result = connected();
        transaction.commit();
        return result;
    }
}

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
