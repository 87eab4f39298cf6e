// What became of the transactions of a load: waits for their ends, asks the server whether it
// agrees, and makes the figures.
#pragma once

#include "driver/ledger.hpp"
#include "driver/load.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace driver {

class Outcome {
public:
    Outcome(const Workload& workload, const Ledger& ledger, const Load& load);

    // Waits until every transaction whose submit was answered by success has had all its calls.
    void drain(Nanos longest);
    // Asks the server for some of them until their status is succeed, those that ended last among
    // them. What the server says of the others is in the figures.
    void check(const Target& target, unsigned sample, Nanos longest);

    // One JSON object; `more`: members to go before it, each followed by a comma.
    std::string json(const std::string& more, const Ledger::Calls& calls) const;

private:
    // End of a transaction, 0 when it is not finished: with wait_result the answer of the submit,
    // else the last call of a branch.
    Nanos end(std::uint32_t number) const;
    Nanos last_end() const;
    std::uint64_t missing() const;
    std::vector<std::uint32_t> pick(unsigned sample) const;

    const Workload& workload_;
    const Ledger& ledger_;
    const Load& load_;
    std::uint64_t backlog_ = 0;  // when the clients stopped
    unsigned asked_ = 0, succeed_ = 0;
    Nanos agreed_ = 0;  // when the sample had succeed everywhere, if not at the first look
    std::map<std::string, unsigned> otherwise_;  // status: how often
};

}  // namespace driver
