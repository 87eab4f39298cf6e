// The table itself: dtm-compat.md 5.2, turned on its side, with dtm's words for each refusal. Knows
// no row and no clock. What a command may change is also an edge of machine.cpp (a test compares
// them); the compiler checks that no cell is missing.
#include "core/command.hpp"

#include <algorithm>
#include <array>

namespace dtm::core {
namespace {

using enum Status;
using What = Ruling::What;
using T = TransType;

// A command, and the cases that 5.2 tells apart.
enum class Line : std::uint8_t {
    prepare,
    submit,
    finish,
    abort_two_phase,
    abort_msg,
    abort_other,
    force_stop,
    register_branch,
    prepare_workflow,
    hurry,
};

// Appendix D, in its spelling.
enum class Text : std::uint8_t {
    none,
    cannot_prepare,
    cannot_submit,
    cannot_abort,
    cannot_stop,
    cannot_register,
    unknown_gid,
    not_found,
};

struct Cell {
    What what = What::error;
    Status to = prepared;
    Text text = Text::none;
};

constexpr Cell create(Status to) { return {What::create, to, Text::none}; }
constexpr Cell change(Status to) { return {What::change, to, Text::none}; }
constexpr Cell failure(Text text) { return {What::failure, prepared, text}; }
constexpr Cell error(Text text) { return {What::error, prepared, text}; }
constexpr Cell nothing{What::nothing, prepared, Text::none};
constexpr Cell insert{What::insert, prepared, Text::none};
constexpr Cell hurry{What::hurry, prepared, Text::none};
constexpr Cell change_to_end{What::change, succeed, Text::none};  // to what the client says

constexpr Cell no_prepare = failure(Text::cannot_prepare);
constexpr Cell no_submit = failure(Text::cannot_submit);
constexpr Cell no_abort = failure(Text::cannot_abort);
constexpr Cell no_stop = failure(Text::cannot_stop);
constexpr Cell no_branch = failure(Text::cannot_register);
constexpr Cell unknown = error(Text::unknown_gid);
constexpr Cell not_found = error(Text::not_found);

constexpr unsigned bit(T type) { return 1U << static_cast<unsigned>(type); }
constexpr unsigned all_types =
    bit(T::msg) | bit(T::saga) | bit(T::tcc) | bit(T::xa) | bit(T::workflow);
constexpr unsigned with_registration = bit(T::tcc) | bit(T::xa) | bit(T::workflow);

struct Row {
    Line line;
    unsigned types;  // of which it can create, change or extend a transaction
    std::array<Cell, 6> cells;
};

constexpr std::array table{
    // none, prepared, submitted, aborting, succeed, failed
    Row{Line::prepare,
        all_types,
        {create(prepared), nothing, no_prepare, no_prepare, no_prepare, no_prepare}},
    // Stored branches always, and another round is all that a repetition asks for (D1, D2).
    Row{Line::submit,
        all_types & ~bit(T::workflow),
        {create(submitted), change(submitted), hurry, no_submit, no_submit, no_submit}},
    Row{Line::finish,
        bit(T::workflow),
        {not_found, change_to_end, not_found, not_found, not_found, not_found}},
    Row{Line::abort_two_phase,
        bit(T::tcc) | bit(T::xa),
        {unknown, change(aborting), no_abort, hurry, no_abort, no_abort}},
    Row{Line::abort_msg,
        bit(T::msg),
        {unknown, change(failed), no_abort, no_abort, no_abort, no_abort}},
    Row{Line::abort_other, 0, {unknown, no_abort, no_abort, no_abort, no_abort, no_abort}},
    Row{Line::force_stop,
        all_types,
        {unknown, change(failed), change(failed), change(failed), no_stop, no_stop}},
    // That a late registration is refused is what tcc and xa rest upon (1.5.8).
    Row{Line::register_branch,
        with_registration,
        {no_branch, insert, no_branch, no_branch, no_branch, no_branch}},
    Row{Line::prepare_workflow,
        bit(T::workflow),
        {create(prepared), nothing, nothing, nothing, nothing, nothing}},
    Row{Line::hurry, all_types, {unknown, hurry, hurry, hurry, hurry, hurry}},
};

constexpr bool complete() {
    if (table.size() != static_cast<std::size_t>(Line::hurry) + 1) return false;
    for (std::size_t i = 0; i < table.size(); ++i)
        if (table[i].line != static_cast<Line>(i)) return false;
    return true;
}

constexpr bool refuses(const Cell& c) { return c.what == What::failure || c.what == What::error; }

// A cell that was left out would be an error without a text.
constexpr bool every_refusal_has_its_text() {
    return std::ranges::all_of(table, [](const Row& row) {
        return std::ranges::all_of(
            row.cells, [](const Cell& c) { return refuses(c) == (c.text != Text::none); });
    });
}

constexpr bool only_what_is_missing_is_created() {
    return std::ranges::all_of(table, [](const Row& row) {
        const auto creates = [](const Cell& c) { return c.what == What::create; };
        return (creates(row.cells[0]) || refuses(row.cells[0])) &&
               std::none_of(row.cells.begin() + 1, row.cells.end(), creates);
    });
}

constexpr bool what_is_final_stays() {
    return std::ranges::all_of(table, [](const Row& row) {
        return std::all_of(row.cells.begin() + 4, row.cells.end(), [](const Cell& c) {
            return c.what != What::change && c.what != What::insert;
        });
    });
}

static_assert(complete(), "a command has no row, or the order of the rows is not that of Line");
static_assert(every_refusal_has_its_text(), "a cell is missing, or a refusal without a text");
static_assert(only_what_is_missing_is_created(), "a command creates what is there already");
static_assert(what_is_final_stays(), "a command changes a final transaction (P4)");

Line line_of(Command command, T type) {
    switch (command) {
        case Command::prepare:
            return Line::prepare;
        case Command::submit:
            return Line::submit;
        case Command::finish:
            return Line::finish;
        case Command::abort:
            if (type == T::tcc || type == T::xa) return Line::abort_two_phase;
            return type == T::msg ? Line::abort_msg : Line::abort_other;
        case Command::force_stop:
            return Line::force_stop;
        case Command::register_branch:
            return Line::register_branch;
        case Command::prepare_workflow:
            return Line::prepare_workflow;
        case Command::hurry:
            break;
    }
    return Line::hurry;
}

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

// `found` is there wherever the text names a status: what is unknown has other texts.
std::string words(Text text, std::string_view gid, const Found& found) {
    const std::string status = quoted(to_string(found.status));
    switch (text) {
        case Text::none:
            break;
        case Text::cannot_prepare:
            return "current status " + status + ", cannot prepare. FAILURE";
        case Text::cannot_submit:
            return "current status " + status + ", cannot sumbmit. FAILURE";  // so spelled by dtm
        case Text::cannot_abort:
            return "trans type: " + quoted(to_string(found.type)) + " current status " + status +
                   ", cannot abort. FAILURE";
        case Text::cannot_stop:
            return "global transaction force stop error. status: " +
                   std::string(to_string(found.status)) + ". error: FAILURE";
        case Text::cannot_register:
            return "no trans with gid: " + std::string(gid) + " status: prepared found FAILURE";
        case Text::unknown_gid:
            return "no TransGlobal with gid: " + std::string(gid) + " found";
        case Text::not_found:
            return "storage: NotFound";
    }
    return {};
}

Ruling refuse(What what, std::string text) { return {what, prepared, std::move(text)}; }

bool compares_types(Command c) {
    return c != Command::force_stop && c != Command::hurry && c != Command::prepare_workflow;
}

Ruling other_type(Command command, std::string_view gid, T type, const Found& found) {
    if (command == Command::abort)
        return refuse(What::failure, words(Text::cannot_abort, gid, found));
    return refuse(What::failure, "gid " + std::string(gid) + " is a transaction of type " +
                                     quoted(to_string(found.type)) + ", not " +
                                     quoted(to_string(type)) + ". FAILURE");
}

}  // namespace

Ruling rule(Command command, std::string_view gid, T type, std::optional<Found> found, Status end) {
    if (gid.empty()) return refuse(What::error, "no gid specified");
    if (found && compares_types(command) && found->type != type)
        return other_type(command, gid, type, *found);

    const Row& row = table[static_cast<std::size_t>(line_of(command, type))];
    const Cell& cell = row.cells[found ? 1 + static_cast<std::size_t>(found->status) : 0];
    if (refuses(cell)) return refuse(cell.what, words(cell.text, gid, found.value_or(Found{})));

    const bool acts = cell.what != What::nothing && cell.what != What::hurry;
    if (acts && (row.types & bit(type)) == 0)
        return refuse(What::error, "unknow trans type: " + std::string(to_string(type)));

    Ruling ruling{cell.what, cell.to, {}};
    if (command == Command::finish) {
        // D35: dtm stores whatever word it is given.
        if (!is_final(end))
            return refuse(What::error, "a workflow ends as 'succeed' or 'failed', not as " +
                                           quoted(to_string(end)));
        ruling.to = end;
    }
    return ruling;
}

}  // namespace dtm::core
