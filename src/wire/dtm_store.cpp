#include "wire/dtm_store.hpp"

#include "core/decide.hpp"
#include "core/machine.hpp"
#include "wire/json.hpp"
#include "wire/path.hpp"
#include "wire/rpc_branch.hpp"
#include "wire/rules.hpp"
#include "wire/steps.hpp"
#include "wire/stored.hpp"
#include "wire/text.hpp"
#include "wire/trans_reader.hpp"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

namespace dtm::wire {

namespace {

using core::Branch;
using core::BranchState;
using core::BranchStatus;
using core::OpState;
using core::Request;
using core::Status;
using core::Time;
using core::TransType;
using json::append_string;
using json::Kind;

constexpr std::size_t max_branch_id_bytes = 128;  // as of a registration

[[noreturn]] void fail(std::string sentence) { throw BadRequest("$", std::move(sentence)); }

std::string in_branch(const DtmBranch& row) {
    return "branch " + quoted(row.branch_id) + ", " + printable(row.op, 20) + ": ";
}

// What the reader of requests says, with the column that it is about.
std::string sentence(const BadRequest& bad) {
    std::string what = bad.what();
    if (bad.path.size() <= 2) return what;
    const std::string place = bad.path.substr(2);
    const std::string column = place.substr(0, place.find_first_of(".["));
    return what.find(column) == std::string::npos ? place + ": " + what : what;
}

// ---- the transaction ----------------------------------------------------------------------------

json::Document parse(const char* column, std::string_view text, const Limits& limits) {
    try {
        return json::Document(text, limits.max_depth);
    } catch (const json::SyntaxError& error) {
        fail(std::string(column) + ": " + error.what() + " (byte " +
             std::to_string(error.offset + 1) + ")");
    }
}

// The members of the options, as text without the braces.
std::string_view members(std::string_view options, const Limits& limits) {
    if (options.empty()) return {};
    const json::Document document = parse("options", options, limits);
    if (document.root().is_null()) return {};
    if (document.root().kind() != Kind::object) fail("options is not a JSON object");
    std::string_view inside = options.substr(options.find('{') + 1);
    inside = inside.substr(0, inside.rfind('}'));
    return document.root().size() == 0 ? std::string_view() : inside;
}

// dtm has cut the request into columns and rows; here it is in one piece again, so that what a
// submit refuses is refused here, too, in the same words. Addresses and payloads are filled in
// later. Ours come after the options: where a name comes twice, the last one counts.
std::string request_text(const DtmTrans& trans, std::size_t steps, const Limits& limits) {
    std::string text = "{";
    text += members(trans.options, limits);
    const auto member = [&text](const char* name, const std::string& value) {
        if (text.size() > 1) text += ',';
        append_string(text, name);
        append_string(text += ':', value);
    };
    member("gid", trans.gid);
    member("trans_type", trans.trans_type);
    member("protocol", trans.protocol);
    member("query_prepared", trans.query_prepared);
    member("custom_data", trans.custom_data);
    const auto list = [&](const char* name, std::string_view element) {
        text.append(",\"").append(name).append("\":[");
        for (std::size_t i = 0; i < steps; ++i) (text += i == 0 ? "" : ",") += element;
        text += ']';
    };
    list("steps", "{}");
    list("payloads", "\"\"");
    return text += '}';
}

// dtm before 1.16.2 kept headers of the submit there, and still sends them.
void add_old_headers(Request& request, const std::string& ext_data, const Limits& limits) {
    if (ext_data.empty()) return;
    const json::Document document = parse("ext_data", ext_data, limits);
    const auto headers = document.root().find("headers");
    if (headers.is_null()) return;
    if (headers.kind() != Kind::object) fail("the headers in ext_data are not a JSON object");
    auto& kept = request.options.branch_headers;
    for (std::size_t i = 0; i < headers.size(); ++i) {
        const auto member = headers.member(i);
        const std::string_view name = member.first;
        const json::Value value = member.second;
        if (value.kind() != Kind::string) fail("ext_data: a header is not a string");
        const bool overridden = std::ranges::any_of(
            kept, [&](const auto& h) { return json::equal_ignoring_case(h.first, name); });
        if (overridden) continue;
        check_header(Path(), name, value.string());
        kept.emplace(name, value.string());
    }
}

Status status_of(const DtmTrans& trans, TransType type) {
    const auto status = core::parse_status(trans.status);
    const bool known = status && std::ranges::any_of(core::transitions(), [&](const auto& edge) {
                           return edge.type == type && edge.from == *status;
                       });
    if (!known) {
        fail("a transaction of type " + std::string(core::to_string(type)) +
             " that is unfinished does not have the status " + quoted(trans.status));
    }
    return *status;
}

// ---- branches -----------------------------------------------------------------------------------

BranchStatus status_of(const DtmBranch& row) {
    for (const auto status :
         {BranchStatus::prepared, BranchStatus::succeed, BranchStatus::failed}) {
        if (row.status == core::to_string(status)) return status;
    }
    fail(in_branch(row) + "the status " + quoted(row.status) + " is unknown");
}

OpState life_of(const DtmBranch& row, bool may_fail = false) {
    OpState life;
    life.status = status_of(row);
    if (life.status == BranchStatus::failed && !may_fail) {
        fail(in_branch(row) + "the status is failed, which dtm does not write there");
    }
    if (life.status != BranchStatus::prepared) life.finished = row.finish_time;
    return life;
}

// The rules that hold for a step of a submitted request.
void check_call(const Request& request, const DtmBranch& row) {
    const Path top;
    try {
        check_url(Path(top, "url"), row.url);
        if (calls_json_rpc(request.protocol, row.url)) {
            check_rpc_payload(Path(top, "payload"), row.data);
        }
    } catch (const BadRequest& bad) {
        fail(in_branch(row) + bad.what());
    }
}

const std::string& text_payload(const DtmBranch& row) {
    const std::size_t bad = std::min(first_invalid_utf8(row.data), row.data.find('\0'));
    if (bad != std::string::npos) {
        fail(in_branch(row) + "the payload is not text in UTF-8 (byte " + std::to_string(bad + 1) +
             ")");
    }
    return row.data;
}

// dtm keeps both directions of a branch as two rows.
struct Pair {
    const DtmBranch* back = nullptr;
    const DtmBranch* forward = nullptr;
};

std::vector<Pair> pairs(std::span<const DtmBranch> rows, std::string_view back,
                        std::string_view forward) {
    std::vector<Pair> all;
    std::unordered_map<std::string_view, std::size_t> places;
    for (const DtmBranch& row : rows) {
        if (row.op != back && row.op != forward) {
            fail(in_branch(row) + "there is no such operation in a transaction of this type");
        }
        const auto [place, is_new] = places.emplace(row.branch_id, all.size());
        if (is_new) all.emplace_back();
        const DtmBranch*& half =
            row.op == back ? all[place->second].back : all[place->second].forward;
        if (half != nullptr) fail(in_branch(row) + "there are two such rows");
        half = &row;
    }
    for (const Pair& pair : all) {
        const DtmBranch& one = *(pair.back != nullptr ? pair.back : pair.forward);
        if (pair.back == nullptr || pair.forward == nullptr) {
            fail("branch " + quoted(one.branch_id) + " has no row for " +
                 std::string(pair.back == nullptr ? back : forward));
        }
        if (pair.back->data != pair.forward->data) {
            fail("branch " + quoted(one.branch_id) +
                 " has different payloads for its two directions");
        }
    }
    return all;
}

// The order in which rows are inserted is that of the steps, and names them: a gap is a lost step.
void check_position(const DtmBranch& row, bool follows) {
    if (!follows) {
        fail("branch " + quoted(row.branch_id) +
             " is not the one that must come here: rows are missing or are not dtm's");
    }
}

void read_saga(Takeover& t, std::span<const DtmBranch> rows) {
    const std::vector<Pair> steps = pairs(rows, "compensate", "action");
    t.state.branches.resize(steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto [back, forward] = steps[i];
        check_position(*forward, forward->branch_id == step_id(i));
        check_call(t.request, *back);
        check_call(t.request, *forward);
        Branch& branch = t.request.branches[i];
        branch.action = forward->url;
        branch.compensate = back->url;
        t.request.payloads[i] = text_payload(*forward);
        t.state.branches[i].action = life_of(*forward, true);
        t.state.branches[i].compensate = life_of(*back);
    }
}

void read_msg(Takeover& t, std::span<const DtmBranch> rows) {
    std::size_t steps = 0, subscribers = 0;
    t.state.branches.resize(rows.size());
    t.request.payloads.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        const DtmBranch& row = rows[i];
        if (row.op != "action") fail(in_branch(row) + "a message has actions only");
        const bool next_of_topic =
            subscribers > 0 && row.branch_id == subscriber_id(steps - 1, subscribers);
        if (next_of_topic) {
            ++subscribers;
            if (row.data != t.request.payloads.back()) {
                fail(in_branch(row) + "the subscribers of one topic have different payloads");
            }
        } else {
            const bool topic = row.branch_id == subscriber_id(steps, 0);
            check_position(row, topic || row.branch_id == step_id(steps));
            subscribers = topic ? 1 : 0;
            ++steps;
            t.request.payloads.push_back(text_payload(row));
        }
        check_call(t.request, row);
        Branch& branch = t.request.branches[i];
        branch.branch_id = row.branch_id;
        branch.action = row.url;
        branch.step = static_cast<std::uint32_t>(steps - 1);
        t.state.branches[i].action = life_of(row);
    }
}

void add_registration(Takeover& t, Registration&& registration, const DtmBranch& row) {
    if (row.branch_id.empty()) fail("a branch has no id");
    if (row.branch_id.size() > max_branch_id_bytes) {
        fail("branch " + quoted(row.branch_id) + " has an id of more than " +
             std::to_string(max_branch_id_bytes) + " bytes");
    }
    registration.gid = t.request.gid;
    registration.type = t.request.type;
    registration.branch_id = row.branch_id;
    registration.data = row.data;
    t.registered.push_back(
        {std::move(registration), row.create_time.value_or(t.state.create_time)});
}

// What was registered is kept in a table of its own, in the order of its times. dtm's have whole
// seconds, and its clock may be fast: whoever registers here next must come last.
void tell_times_apart(std::vector<DtmRegistration>& registered, Time now) {
    Time latest = now - core::Micros(registered.size());
    Time earliest = Time::min();
    for (DtmRegistration& r : registered) {
        r.create_time = std::max(std::min(r.create_time, latest), earliest);
        earliest = r.create_time + core::Micros(1);
        latest += core::Micros(1);
    }
}

void read_two_phase(Takeover& t, std::span<const DtmBranch> rows) {
    const bool tcc = t.request.type == TransType::tcc;
    const auto all = tcc ? pairs(rows, "cancel", "confirm") : pairs(rows, "rollback", "commit");
    for (const auto [back, forward] : all) {
        check_call(t.request, *back);
        check_call(t.request, *forward);
        if (!tcc && back->url != forward->url) {
            fail("branch " + quoted(back->branch_id) + " has two different URLs");
        }
        Registration registration;
        registration.url = forward->url;
        if (tcc) registration.cancel = back->url;
        add_registration(t, std::move(registration), *forward);
        add_registered(t.request, t.registered.back().registration);
        t.state.branches.push_back({false, life_of(*forward), life_of(*back)});
    }
}

// A row is a step that its client has finished.
void read_workflow(Takeover& t, std::span<const DtmBranch> rows) {
    std::set<std::pair<std::string_view, std::string_view>> steps;
    for (const DtmBranch& row : rows) {
        if (!steps.emplace(row.branch_id, row.op).second) {
            fail(in_branch(row) + "there are two such rows");
        }
        if (row.op.empty()) fail("branch " + quoted(row.branch_id) + " has no operation");
        Registration registration;
        registration.op = row.op;
        registration.status = status_of(row);
        if (registration.status == BranchStatus::prepared) {
            fail(in_branch(row) + "the status is prepared, which dtm does not write there");
        }
        add_registration(t, std::move(registration), row);
    }
}

// ---- what has happened --------------------------------------------------------------------------

// dtm would call it now (dtm-compat.md 5.5.2, 5.6, 5.7), so it may have called it before. Not
// core::waits_for(): dtm looks at the step right before it alone.
bool may_be_running(const Takeover& t, std::size_t step) {
    const auto succeeded = [&](std::size_t i) {
        return t.state.branches[i].action.status == BranchStatus::succeed;
    };
    const Branch& branch = t.request.branches[step];
    if (t.request.type == TransType::tcc) {
        return step + 1 == t.state.branches.size() || succeeded(step + 1);
    }
    if (!t.request.options.concurrent && step > 0 && !succeeded(step - 1)) return false;
    return std::ranges::all_of(branch.after, succeeded);
}

void remember_what_ran(Takeover& t) {
    if (t.state.status == Status::prepared) return;
    // Nothing was confirmed.
    if (core::is_two_phase(t.request.type) && t.state.status == Status::aborting) return;
    for (std::size_t i = 0; i < t.state.branches.size(); ++i) {
        BranchState& branch = t.state.branches[i];
        branch.may_have_run =
            branch.action.status != BranchStatus::prepared || may_be_running(t, i);
    }
}

// What would be called next waits for dtm's next visit. Before its timeout a visit asks nobody
// about a message (dtm-compat.md 5.6): the local transaction of its client may still be open.
void keep_waiting(Takeover& t, Time until, Time now, const core::Policy& policy) {
    const auto wait = [until](OpState& op) {
        if (op.status == BranchStatus::prepared) op.next = until;
    };
    const TransType type = t.request.type;
    const auto end = core::deadline(t.request, t.state, policy);
    const bool asks = type == TransType::workflow || (type == TransType::msg && end && *end <= now);
    if (t.state.status == Status::prepared && asks) wait(t.state.query);
    for (BranchState& branch : t.state.branches) {
        if (t.state.status == Status::submitted && branch.may_have_run) wait(branch.action);
        if (t.state.status == Status::aborting && core::is_undone(t.request, branch)) {
            wait(branch.compensate);
        }
    }
}

Takeover read(const DtmTrans& trans, std::span<const DtmBranch> rows, const Limits& limits) {
    const auto type = core::parse_trans_type(trans.trans_type);
    if (!type) fail("the type " + quoted(trans.trans_type) + " is unknown");
    if (core::lists_steps(*type) && rows.empty()) fail("it has no branches");
    const std::size_t steps = *type == TransType::saga  ? (rows.size() + 1) / 2
                              : *type == TransType::msg ? rows.size()
                                                        : 0;
    const auto command =
        *type == TransType::workflow ? core::Command::prepare_workflow : core::Command::prepare;
    Takeover t;
    t.request = parse_trans(request_text(trans, steps, limits), command, {}, limits).request;
    add_old_headers(t.request, trans.ext_data, limits);
    t.state.status = status_of(trans, *type);
    if (!trans.create_time) fail("it has no create_time");
    t.state.create_time = *trans.create_time;
    switch (*type) {
        case TransType::saga:
            read_saga(t, rows);
            break;
        case TransType::msg:
            read_msg(t, rows);
            break;
        case TransType::tcc:
        case TransType::xa:
            read_two_phase(t, rows);
            break;
        case TransType::workflow:
            read_workflow(t, rows);
            break;
    }
    return t;
}

}  // namespace

Takeover take_over(const DtmTrans& trans, std::span<const DtmBranch> rows, Time now,
                   const core::Policy& policy, const Limits& limits) {
    Takeover t;
    try {
        t = read(trans, rows, limits);
    } catch (const BadRequest& bad) {
        fail(sentence(bad));
    }
    tell_times_apart(t.registered, now);
    remember_what_ran(t);
    if (trans.next_cron_time && *trans.next_cron_time > now)
        keep_waiting(t, *trans.next_cron_time, now, policy);
    t.text = encode_request(t.request);
    if (t.text.size() > limits.max_body_bytes) {
        fail("the request is " + std::to_string(t.text.size()) + " bytes long, the limit is " +
             std::to_string(limits.max_body_bytes));
    }
    const bool registers =
        core::has_registered(t.request.type) && t.state.status == Status::prepared;
    // A row that says nothing takes the branches that are still to be registered.
    if (!registers || t.state.query != OpState{}) t.progress = encode_progress(t.state);
    return t;
}

}  // namespace dtm::wire
