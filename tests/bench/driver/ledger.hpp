// Knows of every transaction of a run which of its branches were called, and when the last one was.
// Transactions are numbers; their gids begin with a hash, because the gids of dtm's clients are
// random and an index notices. The participant's thread writes, the driver's thread reads.
#pragma once

#include "driver/clock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace driver {

class Ledger {
public:
    // "saga" → action, "tcc" → confirm: the operation that finishes a branch.
    static std::string_view finishing_op(std::string_view trans_type);
    static constexpr unsigned max_branches = 64;
    static constexpr std::size_t gid_length = 21;

    // Transactions 0 … capacity - 1, each of branches 01, 02, … `run`: five letters or digits that
    // no other run has.
    Ledger(std::string run, std::string_view trans_type, unsigned branches, std::uint32_t capacity);

    std::uint32_t capacity() const { return static_cast<std::uint32_t>(entries_.size()); }
    std::string gid(std::uint32_t number) const;

    // A request line as the participant got it.
    void arrived(std::string_view request_line);

    // When the last missing branch was called; 0: not yet.
    Nanos finished(std::uint32_t number) const {
        return entries_[number].finished.load(std::memory_order_acquire);
    }

    struct Calls {
        std::map<std::string, std::uint64_t> by_op;  // of this run's transactions
        std::uint64_t repeated = 0;  // finishing calls of branches that had theirs before
        std::uint64_t foreign = 0;   // of other transactions, e.g. of an earlier run
    };
    // When nothing arrives any more.
    Calls calls() const;

private:
    struct Entry {
        std::uint64_t branches = 0;  // a bit for each that was called
        std::atomic<Nanos> finished = 0;
    };
    bool number_of(std::string_view gid, std::uint32_t& number) const;

    static constexpr std::array<std::string_view, 9> ops = {
        "action", "confirm", "try", "compensate", "cancel", "msg", "commit", "rollback", "other"};

    std::string run_;
    std::string_view op_;
    std::uint64_t all_;
    std::vector<Entry> entries_;
    std::array<std::uint64_t, ops.size()> by_op_{};
    std::uint64_t repeated_ = 0, foreign_ = 0;
};

}  // namespace driver
