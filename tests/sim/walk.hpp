// Schedules: one random one per seed, and the shortest story of one that went wrong.
#pragma once

#include "rng.hpp"
#include "world.hpp"

#include <string>
#include <vector>

namespace sim {

// Everything that a replay needs.
struct Script {
    Plan plan;
    std::vector<Step> steps;
};

class Walk {
public:
    explicit Walk(Mutant mutant) : world_(mutant) { script_.steps.reserve(4096); }

    // Runs the schedule of this seed: at random, then fairly until everything has ended.
    const Broken& run(std::uint64_t seed);
    // The steps in order, those that are impossible left out; then the ordinary ones, in a fixed
    // order, until the end. script() has those that were made.
    const Broken& replay(const Script&);

    const Script& script() const { return script_; }
    World& world() { return world_; }
    const std::array<std::uint64_t, kKinds>& made() const { return made_; }
    std::uint64_t ended(Status s) const { return ended_[static_cast<std::size_t>(s)]; }
    std::uint64_t steps = 0;

private:
    void plan(Rng&);
    bool try_trouble(Rng&);
    void random_phase(Rng&);
    void fair_phase(Rng*);
    bool make(const Step&);
    void count_ends();

    World world_;
    Script script_;
    std::vector<Kind> kinds_;
    Possible possible_;
    std::array<std::uint64_t, kKinds> made_{};
    std::array<std::uint64_t, 5> ended_{};
};

struct Story {
    std::uint64_t seed = 0;
    std::string broken;
    std::size_t steps = 0;
    std::string text;  // the requests, then one line per step
};
// Of the schedule of this seed, which must go wrong; cut down as far as cutting helps.
Story shortest_story(Mutant, std::uint64_t seed);

}  // namespace sim
