// The order among the steps of a saga; see steps.hpp.
#include "wire/fields.hpp"
#include "wire/rules.hpp"
#include "wire/steps.hpp"
#include "wire/text.hpp"

#include <algorithm>

namespace dtm::wire {

namespace {

using json::Kind;
using json::Value;

// "there is no step 7; steps are numbered 0 to 1"
[[noreturn]] void no_such_step(const Path& path, std::string_view step, std::size_t steps) {
    path.fail("there is no step " + std::string(step) + "; steps are numbered 0 to " +
              std::to_string(steps - 1));
}

std::uint32_t order_key(const Path& path, std::string_view key, std::size_t steps) {
    const bool digits = !key.empty() && key.find_first_not_of("0123456789") == key.npos;
    if (!digits || (key.size() > 1 && key[0] == '0')) {
        path.fail("the key " + quoted(key) + " of orders is not the number of a step");
    }
    // Nine digits are enough for every step and cannot overflow.
    if (key.size() > 9) no_such_step(path, printable(key, 20), steps);
    const auto step = static_cast<std::uint32_t>(std::stoul(std::string(key)));
    if (step >= steps) no_such_step(path, key, steps);
    return step;
}

std::uint32_t predecessor(const Path& path, std::uint32_t step, Value value, std::size_t steps) {
    if (value.kind() != Kind::integer) {
        path.fail("a predecessor must be the number of a step, not " +
                  std::string(json::article(value.kind())));
    }
    const auto number = value.integer();
    if (!number) path.fail("a predecessor must be the number of a step");
    if (*number < 0 || *number >= static_cast<std::int64_t>(steps)) {
        no_such_step(path, std::to_string(*number), steps);
    }
    if (*number == step) path.fail("step " + std::to_string(step) + " waits for itself");
    return static_cast<std::uint32_t>(*number);
}

// One after the other and yet after a later one: such a saga would never get past that step.
void check_serial(const Path& path, const std::vector<std::vector<std::uint32_t>>& after) {
    for (std::size_t step = 0; step < after.size(); ++step) {
        if (after[step].empty() || after[step].back() < step) continue;
        Path(path, std::to_string(step))
            .fail("step " + std::to_string(step) + " of a serial saga waits for the later step " +
                      std::to_string(after[step].back()),
                  "Set \"concurrent\": true in custom_data; orders then decide alone.");
    }
}

}  // namespace

void read_orders(const Path& path, Value orders, core::Request& request) {
    if (orders.is_null()) return;
    if (orders.kind() != Kind::object) {
        wrong_kind(path, "an object of step numbers and lists of step numbers", orders,
                   "For example {\"2\":[0,1]}: step 2 waits for steps 0 and 1.");
    }
    const std::size_t steps = request.branches.size();  // a saga step is one branch
    // One step has nothing to be ordered with. dtm takes such orders, whatever they say, and
    // its documentation shows one; with more steps a wrong number would silently lose an order.
    if (steps == 1) return;
    std::vector<std::vector<std::uint32_t>> after(steps);
    for (std::size_t i = 0; i < orders.size(); ++i) {
        const auto [key, list] = orders.member(i);
        const Path list_path(path, key);
        const std::uint32_t step = order_key(list_path, key, steps);
        if (list.is_null()) continue;
        if (list.kind() != Kind::array) {
            list_path.fail("the predecessors of step " + std::to_string(step) +
                           " must be a list, not " + std::string(json::article(list.kind())));
        }
        for (std::size_t k = 0; k < list.size(); ++k) {
            after[step].push_back(predecessor(Path(list_path, k), step, list.at(k), steps));
        }
        std::sort(after[step].begin(), after[step].end());
        after[step].erase(std::unique(after[step].begin(), after[step].end()), after[step].end());
    }
    check_no_cycle(path, after);
    if (!request.options.concurrent) check_serial(path, after);
    for (std::size_t i = 0; i < steps; ++i) request.branches[i].after = std::move(after[i]);
}

}  // namespace dtm::wire
