// The model test (design 15): core is enumerated, every schedule within the bounds, and the oracle
// must hold in every world. Then core's surroundings are broken on purpose and the oracle must
// notice.
#include "explore.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <random>

namespace model {
namespace {

using core::Op;
using core::TransType;

core::Request request(TransType type, int branches, bool concurrent) {
    core::Request r;
    r.gid = "model";
    r.type = type;
    r.options.concurrent = concurrent;
    for (int i = 0; i < branches; ++i) {
        core::Branch b;
        b.branch_id = "0" + std::to_string(i + 1);
        b.action = "http://p/" + b.branch_id;
        if (type != TransType::msg) b.compensate = b.action + "/undo";
        b.step = static_cast<std::uint32_t>(i);
        r.branches.push_back(std::move(b));
    }
    return r;
}

struct Bounds {
    int crashes, trouble, per_op;
};

struct Total {
    std::uint64_t shapes = 0, worlds = 0, steps = 0;
    double schedules = 0;
};

// Proves one shape; on failure tells the shortest story.
void check(Shape shape, Bounds bounds, Total& total) {
    shape.crashes = bounds.crashes;
    shape.trouble = bounds.trouble;
    shape.trouble_per_op = bounds.per_op;
    // They lead to no new worlds; with more branches only the random schedules make them.
    shape.stray_answers = shape.request.branches.size() < 2;
    Rules rules(shape, {});
    const Proof proof = prove(rules);
    ++total.shapes;
    total.worlds += proof.worlds;
    total.steps += proof.steps;
    total.schedules += proof.schedules;
    if (std::getenv("MODEL_VERBOSE"))
        std::printf("  %-60s c%d t%d/%d %10llu worlds %11llu steps %.1e schedules\n",
                    shape.name.c_str(), bounds.crashes, bounds.trouble, bounds.per_op,
                    static_cast<unsigned long long>(proof.worlds),
                    static_cast<unsigned long long>(proof.steps), proof.schedules);
    EXPECT_GE(proof.schedules, 1) << shape.name << ": nothing came to its end";
    if (!proof.broken.empty())
        ADD_FAILURE() << proof.broken << "\n" << print(rules, shortest_story(rules, 1'000'000));
}

void report(const char* what, const Total& t) {
    std::printf("[ model    ] %s: %llu shapes, %llu worlds, %llu steps, %.3e schedules\n", what,
                static_cast<unsigned long long>(t.shapes),
                static_cast<unsigned long long>(t.worlds), static_cast<unsigned long long>(t.steps),
                t.schedules);
}

// Runs `with` for each combination of the options that change what decide() does.
template <typename With>
void for_each_saga_option(const Shape& base, With with) {
    for (const bool deadline : {false, true})
        for (const std::uint32_t limit : {0u, 1u})
            for (const bool exact : {false, true}) {
                Shape s = base;
                s.has_deadline = deadline;
                s.request.options.timeout_to_fail = core::Seconds{deadline ? 35 : 0};
                s.request.options.retry_limit = limit;
                s.request.options.exact_progress = exact;
                s.name += std::string(deadline ? ", timeout" : "") +
                          (limit ? ", retry_limit 1" : "") + (exact ? ", exact_progress" : "");
                with(s);
            }
}

// All labelled orders of `branches` steps without a cycle: 1, 3, 25.
std::vector<Shape> concurrent_sagas(int branches) {
    std::vector<Shape> shapes;
    const int pairs = branches * branches;
    for (int bits = 0; bits < (1 << pairs); ++bits) {
        bool edge[kMaxBranches][kMaxBranches] = {};
        bool reach[kMaxBranches][kMaxBranches] = {};
        for (int i = 0; i < branches; ++i)
            for (int j = 0; j < branches; ++j)
                edge[i][j] = reach[i][j] = bits >> (i * branches + j) & 1;
        for (int k = 0; k < branches; ++k)
            for (int i = 0; i < branches; ++i)
                for (int j = 0; j < branches; ++j) reach[i][j] |= reach[i][k] && reach[k][j];
        bool cycle = false;
        for (int i = 0; i < branches; ++i) cycle |= reach[i][i];
        if (cycle) continue;
        Shape s;
        s.request = request(TransType::saga, branches, true);
        s.name = "saga concurrent " + std::to_string(branches) + " {";
        for (int i = 0; i < branches; ++i)
            for (int j = 0; j < branches; ++j)
                if (edge[i][j]) {
                    s.request.branches[static_cast<std::size_t>(i)].after.push_back(
                        static_cast<std::uint32_t>(j));
                    s.name += std::string(" ") + static_cast<char>('A' + j) + "<" +
                              static_cast<char>('A' + i);
                }
        s.name += " }";
        shapes.push_back(std::move(s));
    }
    return shapes;
}

Shape serial_saga(int branches) {
    Shape s;
    s.request = request(TransType::saga, branches, false);
    s.name = "saga serial " + std::to_string(branches);
    return s;
}

TEST(Model, SagaSerial) {
    Total total;
    for (int n = 1; n <= 3; ++n)
        for_each_saga_option(serial_saga(n), [&](const Shape& s) {
            check(s, n < 3 || !s.request.options.retry_limit ? Bounds{2, 3, 2} : Bounds{2, 2, 2},
                  total);
        });
    // Orders on top of the serial rule.
    Shape s = serial_saga(3);
    s.request.branches[2].after = {0};
    s.name += " {A<C}";
    check(s, {2, 2, 1}, total);
    report("saga serial", total);
}

TEST(Model, SagaConcurrent) {
    Total total;
    EXPECT_EQ(concurrent_sagas(2).size(), 3u);
    EXPECT_EQ(concurrent_sagas(3).size(), 25u);
    for (int n = 1; n <= 3; ++n)
        for (const Shape& base : concurrent_sagas(n))
            for_each_saga_option(base, [&](const Shape& s) {
                const core::Options& o = s.request.options;
                const bool both = o.exact_progress && o.retry_limit;
                if (n < 3) return check(s, both ? Bounds{2, 1, 1} : Bounds{2, 2, 1}, total);
                // Three independent steps are the widest shape: with an option on top, crash and
                // trouble are walked one at a time.
                if (!o.exact_progress && !o.retry_limit) return check(s, {1, 1, 1}, total);
                check(s, {1, 0, 0}, total);
                check(s, {0, 1, 1}, total);
            });
    report("saga concurrent", total);
}

// start 0: submitted; 1: prepared with a query; 2: prepared without.
Shape message(int branches, bool concurrent, int start) {
    Shape s;
    s.request = request(TransType::msg, branches, concurrent);
    s.starts_prepared = s.has_deadline = start != 0;
    if (start == 1) s.request.query_prepared = "http://client/query";
    s.name = std::string("msg ") + (concurrent ? "concurrent " : "serial ") +
             std::to_string(branches) +
             (start == 1   ? ", query"
              : start == 2 ? ", prepared without query"
                           : "");
    return s;
}

TEST(Model, Msg) {
    Total total;
    for (int n = 1; n <= 3; ++n)
        for (const bool concurrent : {false, true})
            for (const int start : {0, 1, 2})
                for (const bool exact : {false, true}) {
                    Shape s = message(n, concurrent, start);
                    s.request.options.exact_progress = exact;
                    if (exact) s.name += ", exact_progress";
                    check(s, {2, 2, 2}, total);
                }
    report("msg", total);
}

// Prepared by a client that registers its branches one by one, or stops doing so.
Shape two_phase(TransType type, int branches) {
    Shape s;
    s.request = request(type, branches, false);
    s.starts_prepared = s.has_deadline = true;
    s.name = std::string(to_string(type)) + " " + std::to_string(branches);
    return s;
}

TEST(Model, TccAndXa) {
    Total total;
    for (const TransType type : {TransType::tcc, TransType::xa})
        for (int n = 0; n <= 3; ++n)
            for (const bool exact : {false, true}) {
                Shape s = two_phase(type, n);
                s.request.options.exact_progress = exact;
                if (exact) s.name += ", exact_progress";
                check(s, {2, 3, 2}, total);
            }
    report("tcc, xa", total);
}

// Its deadline is the end of the first interval.
Shape a_workflow() {
    Shape s;
    s.request = request(TransType::workflow, 0, false);
    s.request.query_prepared = "http://client/resume";
    s.starts_prepared = s.has_deadline = true;
    s.name = "workflow";
    return s;
}

TEST(Model, Workflow) {
    Total total;
    check(a_workflow(), {4, 6, 6}, total);
    report("workflow", total);
}

// Beyond the bounds of the proofs, at random: many crashes, much trouble.
TEST(Model, RandomSchedules) {
    const char* const given = std::getenv("MODEL_SEED");
    const std::uint64_t seed = given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::printf("[ model    ] random schedules: MODEL_SEED=%llu\n",
                static_cast<unsigned long long>(seed));
    std::mt19937_64 random(seed);
    std::vector<Shape> shapes;
    const auto add = [&](Shape s) {
        s.crashes = 8;
        s.trouble = 30;
        s.trouble_per_op = 8;
        shapes.push_back(std::move(s));
    };
    for_each_saga_option(serial_saga(3), add);
    for (const Shape& s : concurrent_sagas(3)) for_each_saga_option(s, add);
    for (const bool concurrent : {false, true})
        for (const int start : {0, 1, 2}) add(message(3, concurrent, start));
    for (const TransType type : {TransType::tcc, TransType::xa}) add(two_phase(type, 3));
    add(a_workflow());
    std::uint64_t steps = 0;
    const int runs = 200'000;
    std::vector<Step> possible;
    for (int i = 0; i < runs; ++i) {
        Rules rules(shapes[random() % shapes.size()], {});
        Story story;
        World w = rules.start();
        for (possible.clear(), rules.steps(w, possible); !possible.empty() && story.broken.empty();
             possible.clear(), rules.steps(w, possible)) {
            const Step s = possible[random() % possible.size()];
            story.steps.push_back(s);
            story.broken = rules.apply(w, s);
            ++steps;
        }
        if (story.broken.empty() && !core::is_final(static_cast<core::Status>(w.row_status)))
            story.broken = "stuck";
        ASSERT_EQ(story.broken, "") << print(rules, story);
    }
    std::printf("[ model    ] random schedules: %d, %llu steps\n", runs,
                static_cast<unsigned long long>(steps));
}

Step at(Kind k, char branch = 'A', Op op = Op::action) {
    return {k, static_cast<u8>(branch - 'A'), op};
}

Shape saga_with_deadline(int branches) {
    Shape s = serial_saga(branches);
    s.has_deadline = true;
    s.request.options.timeout_to_fail = core::Seconds{35};
    s.name += ", timeout";
    return s;
}

// Design 7.3: A ok, B ok, crash, timeout decides, only A looks startable, B is never undone.
std::vector<Step> the_schedule() {
    return {at(Kind::load),        at(Kind::arrive, 'A'), at(Kind::answer, 'A'),
            at(Kind::arrive, 'B'), at(Kind::answer, 'B'), at(Kind::crash),
            at(Kind::load),        at(Kind::deadline),    at(Kind::arrive, 'A'),
            at(Kind::answer, 'A'), at(Kind::settle)};
}

TEST(Mutant, FrontierTakenOutIsCaught) {
    for (int n = 1; n <= 3; ++n) {
        Rules rules(saga_with_deadline(n), {.row_without_frontier = true});
        const Story story = shortest_story(rules, 3'000'000);
        EXPECT_FALSE(story.broken.empty()) << "the oracle did not notice";
        std::printf("[ mutant   ] the row forgets what may have run: %s",
                    print(rules, story).c_str());
    }
}

TEST(Mutant, FrontierTakenOutIsCaughtInTheScheduleOfTheDesign) {
    Rules mutant(saga_with_deadline(2), {.row_without_frontier = true});
    World end{};
    const Story caught = replay(mutant, the_schedule(), &end);
    EXPECT_NE(caught.broken.find("P6: failed, but the effect of branch 2 stands"),
              std::string::npos)
        << caught.broken;
    EXPECT_EQ(end.branch[0].effect, undone);
    EXPECT_EQ(end.branch[1].effect, active);
    std::printf("[ mutant   ] the design's schedule: %s", print(mutant, caught).c_str());

    Rules sound(saga_with_deadline(2), {});
    const Story kept = replay(sound, the_schedule(), &end);
    EXPECT_EQ(kept.broken, "") << print(sound, kept);
    EXPECT_EQ(end.row_status, static_cast<u8>(core::Status::failed));
    EXPECT_EQ(end.branch[0].effect, undone);
    EXPECT_EQ(end.branch[1].effect, undone);
}

TEST(Mutant, CallBeforeFlushIsCaught) {
    for (int n = 1; n <= 3; ++n) {
        Rules rules(saga_with_deadline(n), {.calls_before_flush = true});
        const Story story = shortest_story(rules, 3'000'000);
        EXPECT_FALSE(story.broken.empty()) << "the oracle did not notice";
        std::printf("[ mutant   ] calls leave before the write: %s", print(rules, story).c_str());
    }
}

// The row admits only A, B has left without its flush, the memory is lost: B is never undone.
TEST(Mutant, CallBeforeFlushLosesTheFrontier) {
    Rules rules(saga_with_deadline(2), {.calls_before_flush = true});
    World end{};
    const Story story =
        replay(rules,
               {at(Kind::load), at(Kind::error, 'A'), at(Kind::settle), at(Kind::retry, 'A'),
                at(Kind::arrive, 'A'), at(Kind::answer, 'A'), at(Kind::arrive, 'B'),
                at(Kind::crash), at(Kind::load), at(Kind::deadline)},
               &end);
    EXPECT_NE(story.broken.find("P6: failed, but the effect of branch 2 stands"), std::string::npos)
        << print(rules, story);
    EXPECT_EQ(end.branch[1].effect, active);
}

// A registers, the timeout decides, B registers before the write: B is never cancelled.
TEST(Mutant, BranchesNotRereadIsCaught) {
    for (const TransType type : {TransType::tcc, TransType::xa}) {
        Rules mutant(two_phase(type, 2), {.branches_not_reread = true});
        const Story story = shortest_story(mutant, 3'000'000);
        EXPECT_NE(story.broken.find("P6: failed, but branch"), std::string::npos) << story.broken;
        std::printf("[ mutant   ] the branches are not read again: %s",
                    print(mutant, story).c_str());

        Rules sound(two_phase(type, 2), {});
        World end{};
        const Story kept =
            replay(sound,
                   {at(Kind::client_register, 'A'), at(Kind::load), at(Kind::deadline),
                    at(Kind::client_register, 'B'), at(Kind::client_try, 'B'), at(Kind::settle)},
                   &end);
        EXPECT_EQ(kept.broken, "") << print(sound, kept);
        EXPECT_EQ(end.row_status, static_cast<u8>(core::Status::failed));
        EXPECT_EQ(end.branch[0].effect, forestalled);
        EXPECT_EQ(end.branch[1].effect, undone);
    }
}

}  // namespace
}  // namespace model
