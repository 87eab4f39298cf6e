// The commands of clients: table 5.2 of dtm-compat.md, written down once more by hand, and every
// command on every transaction compared with it. The texts are those of its appendix D.
#include "core/command.hpp"
#include "core/machine.hpp"
#include "core_testkit.hpp"

#include <map>

namespace dtm::core {

// For gtest's messages.
void PrintTo(const Ruling& r, std::ostream* os) {
    *os << "what " << static_cast<int>(r.what) << " to " << r.to << " '" << r.refusal << "'";
}

namespace {

using C = Command;
using S = Status;
using T = TransType;
using W = Ruling::What;

constexpr T kTypes[] = {T::msg, T::saga, T::tcc, T::xa, T::workflow};
constexpr S kStatuses[] = {S::prepared, S::submitted, S::aborting, S::succeed, S::failed};
constexpr C kCommands[] = {C::prepare,    C::submit,          C::finish,           C::abort,
                           C::force_stop, C::register_branch, C::prepare_workflow, C::hurry};

// Rows and columns as they stand in 5.2: prepare, submit, abort (tcc/xa), abort (msg), forceStop,
// registerBranch, workflow submit.
using Cells = std::array<const char*, 7>;
const std::map<std::string, Cells> kTable{
    {"none", {"create", "create", "500", "500", "500", "409", "500"}},
    {"prepared", {"no-op", "submitted", "aborting", "failed", "failed", "insert", "given"}},
    {"submitted", {"409", "round", "409", "409", "failed", "409", "500"}},
    {"aborting", {"409", "409", "round", "409", "failed", "409", "500"}},
    {"succeed", {"409", "409", "409", "409", "409", "409", "500"}},
    {"failed", {"409", "409", "409", "409", "409", "409", "500"}},
};

std::string said(std::string text, T type, const std::string& status) {
    const auto replace = [&text](const std::string& mark, const std::string& by) {
        for (auto at = text.find(mark); at != std::string::npos; at = text.find(mark))
            text.replace(at, mark.size(), by);
    };
    replace("<T>", std::string(to_string(type)));
    replace("<S>", status);
    return text;
}

// Of a cell that refuses.
Ruling refusal(C command, T type, const std::string& status, const std::string& code) {
    const W what = code == "409" ? W::failure : W::error;
    std::string text;
    switch (command) {
        case C::prepare:
            text = "current status '<S>', cannot prepare. FAILURE";
            break;
        case C::submit:
            text = "current status '<S>', cannot sumbmit. FAILURE";
            break;
        case C::finish:
            text = "storage: NotFound";
            break;
        case C::abort:
            text = status == "none" ? "no TransGlobal with gid: g found"
                                    : "trans type: '<T>' current status '<S>', cannot abort. "
                                      "FAILURE";
            break;
        case C::force_stop:
            text = status == "none"
                       ? "no TransGlobal with gid: g found"
                       : "global transaction force stop error. status: <S>. error: FAILURE";
            break;
        case C::register_branch:
            text = "no trans with gid: g status: prepared found FAILURE";
            break;
        case C::prepare_workflow:
        case C::hurry:
            text = "no TransGlobal with gid: g found";
            break;
    }
    return {what, S::prepared, said(text, type, status)};
}

int column(C command, T type) {
    switch (command) {
        case C::prepare:
            return 0;
        case C::submit:
            return 1;
        case C::abort:
            return type == T::msg ? 3 : 2;
        case C::force_stop:
            return 4;
        case C::register_branch:
            return 5;
        default:
            return 6;
    }
}

// 1.5.9 and 1.5.13, which have no column: a workflow is created or resumed, whatever there is; the
// due time of anything there is can be set.
std::string beside_the_table(C command, const std::string& status) {
    if (command == C::prepare_workflow) return status == "none" ? "create" : "no-op";
    return status == "none" ? "500" : "round";
}

Ruling wanted(C command, T type, const std::string& status, S end) {
    std::string cell = command == C::prepare_workflow || command == C::hurry
                           ? beside_the_table(command, status)
                           : kTable.at(status)[static_cast<std::size_t>(column(command, type))];
    // "anything else … cannot abort" (1.5.6).
    if (command == C::abort && (type == T::saga || type == T::workflow) && status != "none")
        cell = "409";
    if (cell == "409" || cell == "500") return refusal(command, type, status, cell);
    if (cell == "create") return {W::create, command == C::submit ? S::submitted : S::prepared, {}};
    if (cell == "no-op") return {W::nothing, S::prepared, {}};
    if (cell == "insert") return {W::insert, S::prepared, {}};
    if (cell == "round") return {W::hurry, S::prepared, {}};
    if (cell == "given") return {W::change, end, {}};
    return {W::change, *parse_status(cell), {}};
}

// What the type of the command makes of it, where the status would allow it.
bool knows(C command, T type) {
    switch (command) {
        case C::submit:
            return type != T::workflow;
        case C::finish:
        case C::prepare_workflow:
            return type == T::workflow;
        case C::register_branch:
            return type == T::tcc || type == T::xa || type == T::workflow;
        default:
            return true;
    }
}

TEST(Command, EveryCellOfTheTable) {
    int cells = 0;
    for (const C command : kCommands)
        for (const T type : kTypes)
            for (const S end : {S::succeed, S::failed})
                for (const auto& [status, unused] : kTable) {
                    SCOPED_TRACE(testing::Message() << "command " << static_cast<int>(command)
                                                    << " " << type << " " << status);
                    std::optional<Found> found;
                    if (status != "none") found = Found{type, *parse_status(status)};
                    Ruling want = wanted(command, type, status, end);
                    const bool acts =
                        want.what == W::create || want.what == W::change || want.what == W::insert;
                    if (acts && !knows(command, type))
                        want = {W::error, S::prepared,
                                "unknow trans type: " + std::string(to_string(type))};
                    EXPECT_EQ(rule(command, "g", type, found, end), want);
                    ++cells;
                }
    EXPECT_EQ(cells, 8 * 5 * 2 * 6);
}

TEST(Command, AnotherTypeThanTheStoredOneIsRefused) {  // D36
    for (const C command : kCommands)
        for (const T named : kTypes)
            for (const T stored : kTypes)
                for (const S status : kStatuses) {
                    if (named == stored) continue;
                    SCOPED_TRACE(testing::Message()
                                 << "command " << static_cast<int>(command) << " " << named
                                 << " on " << stored << " " << status);
                    const Ruling r = rule(command, "g", named, Found{stored, status});
                    const std::string name(to_string(status));
                    if (command == C::force_stop || command == C::hurry ||
                        command == C::prepare_workflow) {
                        EXPECT_EQ(r, wanted(command, stored, name, S::succeed));
                        continue;
                    }
                    EXPECT_EQ(r.what, W::failure);
                    EXPECT_EQ(
                        r.refusal,
                        command == C::abort
                            ? said("trans type: '<T>' current status '<S>', cannot abort. "
                                   "FAILURE",
                                   stored, name)
                            : said("gid g is a transaction of type '<T>', not '", stored, name) +
                                  std::string(to_string(named)) + "'. FAILURE");
                }
}

TEST(Command, AWorkflowEndsInOneOfTwoWays) {  // D35
    for (const S end : {S::prepared, S::submitted, S::aborting}) {
        const Ruling r = rule(C::finish, "g", T::workflow, Found{T::workflow, S::prepared}, end);
        EXPECT_EQ(r.what, W::error);
        EXPECT_NE(r.refusal.find(to_string(end)), std::string::npos) << r.refusal;
    }
}

TEST(Command, AGidIsRequired) {  // D37
    for (const C command : kCommands) {
        const Ruling r = rule(command, "", T::tcc, std::nullopt);
        EXPECT_EQ(r.what, W::error);
        EXPECT_EQ(r.refusal, "no gid specified");
    }
}

// Whatever a command writes is a status that the transition table has a way to, by its trigger.
TEST(Command, ChangesAreEdgesOfTheMachine) {
    using On = Trigger;
    const auto trigger = [](C command, S end) {
        switch (command) {
            case C::submit:
                return On::submit;
            case C::abort:
                return On::abort;
            case C::finish:
                return end == S::succeed ? On::finish_succeed : On::finish_failed;
            default:
                return On::force_stop;
        }
    };
    int changes = 0;
    for (const C command : kCommands)
        for (const T type : kTypes)
            for (const S status : kStatuses)
                for (const S end : {S::succeed, S::failed}) {
                    // A status without a way out of it does not occur.
                    const bool occurs = target(type, status, On::force_stop).has_value();
                    if (!occurs) continue;
                    const Ruling r = rule(command, "g", type, Found{type, status}, end);
                    if (r.what != W::change) continue;
                    SCOPED_TRACE(testing::Message() << "command " << static_cast<int>(command)
                                                    << " " << type << " " << status);
                    EXPECT_EQ(target(type, status, trigger(command, end)), r.to);
                    ++changes;
                }
    EXPECT_GT(changes, 20);
}

}  // namespace
}  // namespace dtm::core
