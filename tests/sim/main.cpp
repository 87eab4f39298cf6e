// The simulation's tests: every mutant is found and told shortly, old failures stay away, and then
// random schedules for a while. `sim --help` says how to run one alone.
#include "walk.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace sim {

const char* name(Mutant m) {
    static constexpr std::array<const char*, static_cast<std::size_t>(Mutant::count_)> kNames{
        "none",
        "calls_before_flush",
        "calls_before_commit",
        "row_forgets_frontier",
        "fresh_as_new",
        "settle_unguarded",
        "ids_across_lives",
        "reload_at_once",
        "reads_uncommitted",
        "no_sweep",
        "no_barrier",
        "due_forgotten",
        "skip_forgets_frontier",
        "branches_not_reread"};
    return kNames[static_cast<std::size_t>(m)];
}

namespace {

using Clock = std::chrono::steady_clock;
using Seed = unsigned long long;

// Schedules that went wrong once, with a fault in core or in the driver. What a seed means changes
// with the simulation; they cost nothing.
constexpr std::array<Seed, 14> kRegressions{1,  13,  14,   19,   60,    118,   183,
                                            84, 208, 2039, 3536, 14125, 28399, 37159};

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

void report(bool ok, const char* text) {
    std::printf("%s - %s\n", ok ? "ok" : "not ok", text);
    std::fflush(stdout);
}

// Of the failures among the next `more` schedules, the one that is told in the fewest steps.
Story best_story(Mutant mutant, std::uint64_t first, std::uint64_t more, int stories) {
    Story best = shortest_story(mutant, first);
    const std::string promise = best.broken;
    Walk walk(mutant);
    for (std::uint64_t seed = first + 1; stories > 1 && seed < first + more; ++seed) {
        const Broken& broken = walk.run(seed);
        // Of core's faults the one that was found; a mutant may break what it likes.
        if (!broken || (mutant == Mutant::none && promise != broken.promise)) continue;
        Story other = shortest_story(mutant, seed);
        if (other.steps < best.steps) best = std::move(other);
        --stories;
    }
    return best;
}

void print(const Story& s) {
    std::printf("  %s\n  seed %llu, %zu steps:\n%s", s.broken.c_str(), static_cast<Seed>(s.seed),
                s.steps, s.text.c_str());
}

bool find_mutant(Mutant mutant) {
    constexpr std::uint64_t kSeeds = 600'000;
    constexpr std::size_t kSteps = 16;
    Walk walk(mutant);
    for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
        if (!walk.run(seed)) continue;
        const Story story = best_story(mutant, seed, 60'000, 20);
        char text[200];
        std::snprintf(text, sizeof text, "mutant %s: found by schedule %llu, told in %zu steps",
                      name(mutant), static_cast<Seed>(seed), story.steps);
        // What is left after the cuts must still be true.
        const bool told = story.text.find(story.broken) != std::string::npos;
        report(told && story.steps <= kSteps, text);
        print(story);
        return told && story.steps <= kSteps;
    }
    char text[200];
    std::snprintf(text, sizeof text, "mutant %s: not found by %llu schedules", name(mutant),
                  static_cast<Seed>(kSeeds));
    report(false, text);
    return false;
}

void print_coverage(const Walk& walk) {
    std::size_t rarest = 0;
    for (std::size_t k = 1; k < walk.made().size(); ++k)
        if (walk.made()[k] < walk.made()[rarest]) rarest = k;
    std::printf("  the rarest step, %llu times: %s", static_cast<Seed>(walk.made()[rarest]),
                words(static_cast<Kind>(rarest)));
    std::printf("\n  transactions ended: %llu succeed, %llu failed\n",
                static_cast<Seed>(walk.ended(Status::succeed)),
                static_cast<Seed>(walk.ended(Status::failed)));
}

// A run that never makes some step proves nothing about it.
bool covers_everything(const Walk& walk) {
    bool all = walk.ended(Status::succeed) > 0 && walk.ended(Status::failed) > 0;
    for (const std::uint64_t n : walk.made()) all = all && n > 0;
    return all;
}

bool random_run(Mutant mutant, std::uint64_t first, double limit, std::uint64_t schedules) {
    Walk walk(mutant);
    const auto start = Clock::now();
    std::uint64_t done = 0;
    bool broken = false;
    while (done < schedules && !broken) {
        broken = static_cast<bool>(walk.run(first + done++));
        if (done % 512 == 0 && seconds_since(start) >= limit) break;
    }
    const double seconds = seconds_since(start);
    char text[300];
    std::snprintf(text, sizeof text,
                  "%llu random schedules from seed %llu in %.1f s: %.0f schedules/s, "
                  "%.1f steps and %.1f decisions each",
                  static_cast<Seed>(done), static_cast<Seed>(first), seconds,
                  static_cast<double>(done) / seconds,
                  static_cast<double>(walk.steps) / static_cast<double>(done),
                  static_cast<double>(walk.world().decisions) / static_cast<double>(done));
    report(!broken, text);
    if (broken) {
        print(best_story(mutant, first + done - 1, 200'000, 40));
        std::printf("  again: tests/sim/build/sim --seed %llu --schedules 1\n",
                    static_cast<Seed>(first + done - 1));
        return false;
    }
    if (done < 100'000) return true;
    print_coverage(walk);
    report(covers_everything(walk), "every kind of step was made, both ends were reached");
    return covers_everything(walk);
}

[[noreturn]] void usage(int status) {
    std::printf(
        "sim [--seconds S] [--seed N] [--schedules N]   random schedules: seeds N, N + 1, …\n"
        "sim --mutants                                  every mutant must be found\n"
        "sim --regressions                              the seeds that once failed\n"
        "--mutant NAME: random schedules with this fault in the model of the driver:\n ");
    for (int m = 1; m < static_cast<int>(Mutant::count_); ++m)
        std::printf(" %s", name(static_cast<Mutant>(m)));
    std::printf("\n");
    std::exit(status);
}

Mutant mutant_named(std::string_view wanted) {
    for (int m = 0; m < static_cast<int>(Mutant::count_); ++m)
        if (wanted == name(static_cast<Mutant>(m))) return static_cast<Mutant>(m);
    usage(2);
}

bool all_mutants() {
    bool ok = true;
    for (int m = 1; m < static_cast<int>(Mutant::count_); ++m)
        ok = find_mutant(static_cast<Mutant>(m)) && ok;
    return ok;
}

bool regressions() {
    bool ok = true;
    for (const Seed seed : kRegressions) {
        const Story story = shortest_story(Mutant::none, seed);
        if (story.broken.empty()) continue;
        ok = false;
        print(story);
    }
    report(ok, "the schedules that once failed");
    return ok;
}

int main(int argc, char** argv) {
    double seconds = 60;
    std::uint64_t seed = static_cast<std::uint64_t>(
                             std::chrono::system_clock::now().time_since_epoch().count() / 1000) %
                         1'000'000'000'000;
    std::uint64_t schedules = UINT64_MAX;
    Mutant mutant = Mutant::none;
    for (int i = 1; i < argc; ++i) {
        const std::string_view option = argv[i];
        if (option == "--mutants") return all_mutants() ? 0 : 1;
        if (option == "--regressions") return regressions() ? 0 : 1;
        if (option == "--help") usage(0);
        if (i + 1 == argc) usage(2);
        const char* const value = argv[++i];
        if (option == "--seconds")
            seconds = std::strtod(value, nullptr);
        else if (option == "--seed")
            seed = std::strtoull(value, nullptr, 10);
        else if (option == "--schedules")
            schedules = std::strtoull(value, nullptr, 10);
        else if (option == "--mutant")
            mutant = mutant_named(value);
        else
            usage(2);
    }
    return random_run(mutant, seed, seconds, schedules) ? 0 : 1;
}

}  // namespace
}  // namespace sim

int main(int argc, char** argv) { return sim::main(argc, argv); }
