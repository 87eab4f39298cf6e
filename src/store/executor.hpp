// Private to commands.hpp: one batch of commands on its way. What is likely is tried first, without
// looking: new rows are inserted, prepared ones changed, each kind by one statement whose
// conditions are the rules' own (commands.cpp). Only what such a statement leaves out is read,
// locked, and judged by core::rule() (judge.cpp).
#pragma once

#include "store/command_writes.hpp"
#include "store/commands.hpp"
#include "store/trans.hpp"

#include <algorithm>
#include <functional>

namespace dtm::store {

class Executor {
public:
    Executor(std::span<const TransCommand* const> commands, Oid role, core::Time now,
             const core::Policy& policy, bool careful)
        : commands_(commands),
          role_(role),
          now_(now),
          policy_(policy),
          careful_(careful),
          results_(commands.size()),
          answered_(commands.size()),
          texts_(commands.size()),
          new_texts_(commands.size()) {}

    std::vector<CommandResult> run();

private:
    using What = CommandResult::What;

    const TransCommand& command(std::size_t i) const { return *commands_[i]; }
    CommandResult& answer(std::size_t i, What what) {
        answered_[i] = true;
        results_[i].what = what;
        return results_[i];
    }
    void refuse(std::size_t i, What what, Refusal why, std::string message,
                const Row* row = nullptr);
    // Success; the row says so already.
    void leave(std::size_t i, const Row& row);
    bool anything_open() const { return !std::ranges::all_of(answered_, std::identity{}); }
    // The request, as it would be stored.
    const std::string& text(std::size_t i);

    void refuse_what_cannot_be_stored();
    void find_busy();
    void try_the_likely();
    std::optional<Change> likely_change(std::size_t i);
    Creation creation(std::size_t i);
    static void give_words(Change& change, const TransCommand& c);

    void carry_out(const std::vector<Creation>& creations);
    void carry_out(const std::vector<Change>& changes);
    void carry_out_registrations(const std::vector<std::size_t>& which);
    void attach_branches();

    // judge.cpp
    void judge_open();
    void judge_unknown(std::size_t i);
    void judge(std::size_t i, const Row& row);
    void judge_readable(std::size_t i, const Row& row, core::TransType type);
    bool judge_strictly(std::size_t i, const Row& row);
    bool differs(std::size_t i, const Row& row);
    void change_found(std::size_t i, const Row& row, core::Status to);
    bool merge_found(std::size_t i, const Row& row, Change& change);
    void stop_found(std::size_t i, const Row& row);
    void register_found(std::size_t i, const Row& row);
    void hurry(std::size_t i, const Row& row);

    const std::span<const TransCommand* const> commands_;
    const Oid role_;
    const core::Time now_;
    const core::Policy& policy_;
    const bool careful_;
    std::vector<CommandResult> results_;
    std::vector<bool> answered_;
    std::vector<std::string> texts_;      // see text()
    std::vector<std::string> new_texts_;  // of what is prepared, with the options of its submit
    // Of the current round.
    std::vector<Creation> creations_;
    std::vector<Change> changes_;
    std::vector<std::size_t> registrations_;
};

}  // namespace dtm::store
