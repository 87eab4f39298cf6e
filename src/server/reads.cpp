// See reads.hpp.
#include "server/reads.hpp"

#include "hub/settings.hpp"
#include "store/control.hpp"
#include "store/listing.hpp"
#include "store/stored_answer.hpp"
#include "store/subscribers.hpp"
#include "wire/stored.hpp"

#include <charconv>
#include <stdexcept>

namespace dtm::server {
namespace {

using Kind = wire::ApiOutcome::Kind;
using Member = std::pair<std::string_view, std::string>;

// A page may be as long as a client wants, but an answer must fit into memory.
constexpr std::int64_t longest_page = 10000;
constexpr std::int64_t usual_page = 100;
constexpr std::size_t longest_answer = std::size_t{32} << 20;

// What is wrong with a parameter; its text is the answer.
struct Refused : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::string parameter(const Job& job, const char* name) {
    const auto found = job.parameters.find(name);
    return found == job.parameters.end() ? std::string() : found->second;
}

std::optional<std::string> given(const Job& job, const char* name) {
    std::string value = parameter(job, name);
    return value.empty() ? std::nullopt : std::optional(std::move(value));
}

std::optional<std::int64_t> number(const Job& job, const char* name) {
    const auto text = given(job, name);
    if (!text) return std::nullopt;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc{} || end != text->data() + text->size()) {
        throw Refused("convert to int error: " + *text);
    }
    return value;
}

int page_size(const Job& job) {
    const std::int64_t limit = number(job, "limit").value_or(usual_page);
    if (limit < 1) throw Refused("convert to int error: limit must be at least 1");
    return static_cast<int>(std::min(limit, longest_page));
}

std::optional<store::Position> position(const Job& job) {
    const auto text = given(job, "position");
    if (!text) return std::nullopt;
    auto found = store::parse_position(*text);
    if (!found) throw Refused("convert to int error: " + *text);
    return found;
}

std::string next(const std::optional<store::Position>& at) {
    return wire::json_string(at ? store::position_text(*at) : std::string());
}

// Milliseconds in the query, of which dtm takes the seconds (1.5.11).
std::optional<core::Time> seconds_of(const Job& job, const char* name) {
    const auto ms = number(job, name);
    if (!ms) return std::nullopt;
    constexpr std::int64_t most = std::int64_t{253402300799} * 1000;  // the year 9999
    return core::Time{core::Seconds{std::clamp<std::int64_t>(*ms, 0, most) / 1000}};
}

Answer with(std::string object) { return {{}, std::move(object)}; }

// The payload of a step is printed with each call of it, of which a topic may make a thousand.
bool is_too_long(const wire::Progress& progress) {
    std::size_t bytes = 0;
    for (const wire::Operation& o : wire::operations(progress)) bytes += o.payload.size();
    return bytes / 3 * 4 > longest_answer;
}

// A transaction and, as `list`, its operations.
Answer whole(const store::Stored& row, std::string_view list) {
    const wire::RowTexts texts = store::texts_of(row);
    const wire::Progress progress = wire::read_progress(texts);
    const core::Request* request = progress.unreadable.empty() ? &progress.request : nullptr;
    if (is_too_long(progress)) {
        return failure_answer(Kind::error,
                              "transaction " + std::string(row.gid) +
                                  " is too large for an answer; dtm_query(gid) shows it");
    }
    const Member members[] = {
        {list, wire::branches_json(texts, row.update_time, progress, wire::rfc3339)},
        {"transaction", wire::transaction_json(store::answer_of(row, request))}};
    return with(wire::json_object(members));
}

Answer query(const Job& job, Oid role) {
    const std::string gid = parameter(job, "gid");
    if (gid.empty()) return failure_answer(Kind::error, "no gid specified");
    const auto row = store::find(gid, role);
    if (!row) return with(R"({"branches":[],"transaction":null})");
    return whole(*row, "branches");
}

// A row whose text another version wrote is listed without what it says.
std::string listed(const store::Stored& row) {
    const auto type = core::parse_trans_type(row.trans_type);
    try {
        if (!type) return wire::transaction_json(store::answer_of(row, nullptr));
        const core::Request request = wire::decode_request(row.gid, *type, row.request);
        return wire::transaction_json(store::answer_of(row, &request));
    } catch (const std::runtime_error&) {
        return wire::transaction_json(store::answer_of(row, nullptr));
    }
}

Answer all(const Job& job, Oid role) {
    const auto gid = given(job, "gid");
    std::vector<std::string> rows;
    if (gid) {
        const auto row = store::find(*gid, role);
        const Member members[] = {
            {"next_position", wire::json_string(parameter(job, "position"))},
            {"transactions", row ? "[" + listed(*row) + "]" : std::string("null")}};
        return with(wire::json_object(members));
    }
    store::TransFilter filter;
    filter.status = given(job, "status");
    filter.trans_type = given(job, "transType");
    filter.from = seconds_of(job, "createTimeStart");
    filter.until = seconds_of(job, "createTimeEnd");
    const store::TransPage page =
        store::list_transactions(filter, position(job), page_size(job), role);
    for (const store::Stored& row : page.rows) rows.push_back(listed(row));
    const Member members[] = {{"next_position", next(page.next)},
                              {"transactions", wire::json_list(rows)}};
    return with(wire::json_object(members));
}

Answer reset_cron_time(const Job& job, Oid role, core::Time now,
                       std::vector<std::string>& touched) {
    const core::Policy policy = hub::policy();
    const std::int64_t timeout =
        number(job, "timeout").value_or(3 * policy.timeout_to_fail.count());
    constexpr std::int64_t longest = std::int64_t{100} * 366 * 86400;
    const store::Reset reset =
        store::reset_waiting(core::Seconds{std::clamp<std::int64_t>(timeout, 0, longest)},
                             page_size(job), role, now, policy);
    touched.insert(touched.end(), reset.gids.begin(), reset.gids.end());
    if (!reset.gids.empty()) {
        store::record_event("", "retry_all", store::role_name(role),
                            store::retry_event(reset.gids.size()));
    }
    const Member members[] = {{"has_remaining", reset.has_remaining ? "true" : "false"},
                              {"succeed_count", std::to_string(reset.gids.size())}};
    return with(wire::json_object(members));
}

std::string kv_text(const store::KvRow& row) {
    wire::KvAnswer kv;
    kv.create_time = row.create_time;
    kv.update_time = row.update_time;
    kv.cat = row.cat;
    kv.k = row.k;
    kv.v = row.v;
    kv.version = row.version;
    return wire::kv_json(kv);
}

Answer kv_answer(const std::vector<store::KvRow>& rows, const std::string* next_position) {
    std::vector<std::string> texts;
    texts.reserve(rows.size());
    for (const store::KvRow& row : rows) texts.push_back(kv_text(row));
    std::vector<Member> members{{"kv", wire::json_list(texts)}};
    if (next_position != nullptr) members.emplace_back("next_position", *next_position);
    return with(wire::json_object(members));
}

Answer scan_kv(const Job& job) {
    const store::KvPage page = store::list_kv(parameter(job, "cat"), position(job), page_size(job));
    const std::string following = next(page.next);
    return kv_answer(page.rows, &following);
}

std::optional<Answer> topic_answer(const store::TopicChange& change) {
    if (change.outcome == store::TopicOutcome::busy) return std::nullopt;
    if (change.outcome == store::TopicOutcome::done) return Answer{};
    return failure_answer(Kind::error, std::string(store::words(change.outcome)));
}

std::optional<Answer> change_topic(const Job& job) {
    constexpr auto locks = store::Locks::skip;
    if (job.route == Route::delete_topic) {
        const store::TopicChange change = store::drop_topic(job.topic, locks);
        if (change.outcome != store::TopicOutcome::no_topic) return topic_answer(change);
        return failure_answer(Kind::error, "storage: NotFound");
    }
    const std::string topic = parameter(job, "topic"), url = parameter(job, "url");
    if (topic.empty()) return failure_answer(Kind::error, "empty topic");
    if (url.empty()) return failure_answer(Kind::error, "empty url");
    const std::string remark = parameter(job, "remark");
    if (topic.size() > store::longest_topic || remark.size() > store::longest_remark) {
        return failure_answer(Kind::error, std::string(store::too_long));
    }
    if (job.route == Route::unsubscribe) return topic_answer(store::unsubscribe(topic, url, locks));
    store::check_subscriber_url(url);
    return topic_answer(store::subscribe(topic, url, remark, locks));
}

// A topic says whom messages call: who changed it is kept.
std::optional<Answer> recorded(const Job& job, Oid role, std::optional<Answer> answer) {
    if (!answer || answer->outcome.kind != Kind::success) return answer;
    const bool dropped = job.route == Route::delete_topic;
    store::record_event(
        "", dropped ? "drop_topic" : label(job.route), store::role_name(role),
        store::topic_event(changed_topic(job), dropped ? "" : parameter(job, "url")));
    return answer;
}

// What was done so far, for the client that goes on with it (1.5.9).
Answer workflow(const Job& job, Oid role) {
    const std::string_view gid = job.command->gid();
    const auto row = store::find(gid, role);
    if (row) return whole(*row, "progresses");
    return failure_answer(Kind::error, "transaction " + std::string(gid) + " has vanished");
}

}  // namespace

std::string changed_topic(const Job& job) {
    return job.route == Route::delete_topic ? job.topic : parameter(job, "topic");
}

bool needs_read(const Job& job) {
    if (!job.command || job.executed) return true;
    return job.command->what == core::Command::prepare_workflow && job.result &&
           job.result->what == store::CommandResult::What::done;
}

std::optional<Answer> answer_read(const Job& job, Oid role, core::Time now,
                                  std::vector<std::string>& touched) {
    try {
        switch (job.route) {
            case Route::query:
                return query(job, role);
            case Route::all:
                return all(job, role);
            case Route::reset_cron_time:
                return reset_cron_time(job, role, now, touched);
            case Route::scan_kv:
                return scan_kv(job);
            case Route::query_kv:
                return kv_answer(store::find_kv(given(job, "cat"), given(job, "key")), nullptr);
            case Route::subscribe:
            case Route::unsubscribe:
            case Route::delete_topic:
                return recorded(job, role, change_topic(job));
            case Route::prepare_workflow:
                return workflow(job, role);
            default:
                break;
        }
    } catch (const Refused& refused) {
        return failure_answer(Kind::error, refused.what());
    } catch (const wire::BadRequest& bad) {
        return Answer{wire::refusal(bad), {}};
    } catch (const pg::SqlError& error) {
        return failure_answer(Kind::error, error.what());
    }
    return failure_answer(Kind::error, "nobody answers this");
}

}  // namespace dtm::server
