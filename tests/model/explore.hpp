// Walks all schedules of a model world: depth first with a memory of visited worlds for proofs,
// breadth first for the shortest story of a failure.
#pragma once

#include "world.hpp"

#include <string>
#include <vector>

namespace model {

struct Proof {
    std::uint64_t worlds = 0;  // distinct
    std::uint64_t steps = 0;   // distinct (world, step)
    double schedules = 0;      // paths from the start to an end
    std::string broken;        // empty: every promise held everywhere
};
Proof prove(Rules&);

struct Story {
    std::string broken;
    std::vector<Step> steps;
    std::uint64_t worlds = 0;
};
// The shortest way to a broken promise; `broken` is empty when there is none within `limit` worlds.
Story shortest_story(Rules&, std::uint64_t limit);
std::string print(const Rules&, const Story&);

// Makes the steps in order, each must be possible; then ordinary steps until the end. Goes on after
// a broken promise and collects them all.
Story replay(Rules&, const std::vector<Step>&, World* last);

}  // namespace model
