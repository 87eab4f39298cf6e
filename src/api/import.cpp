// dtm_import: what a dtm server has left unfinished in its PostgreSQL tables goes on here. dtm's
// tables are read and emptied as the caller, ours are written as their owner, all of it in the
// caller's transaction: whatever happens, each transaction is in one of the two places, never in
// both (P1, P4).
#include "store/import.hpp"
#include "api/orders.hpp"
#include "api/result.hpp"
#include "core/decide.hpp"
#include "crash_point.hpp"
#include "hub/pending.hpp"
#include "hub/settings.hpp"
#include "pg/session.hpp"
#include "store/access.hpp"
#include "store/control.hpp"
#include "store/dtm_tables.hpp"
#include "store/identity.hpp"
#include "store/subscribers.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace dtm::api {

namespace {

constexpr std::size_t batch_size = 100;
constexpr std::size_t named = 5;  // in the DETAIL of an error; the rest is counted

// What stays with dtm, and why.
struct Left {
    bool is_topic = false;
    std::string trans_type;
    std::string status;
    std::string name;  // gid or topic
    std::string reason;
};

class Import {
public:
    Import(std::string schema, bool skip_bad)
        : schema_(std::move(schema)), skip_bad_(skip_bad), tables_(schema_) {}

    void run();
    void report(ResultRows& rows) const;

private:
    void take_transactions();
    void take_batch(std::span<const std::string> gids);
    std::vector<store::ImportedTrans> readable(std::span<const std::string> gids);
    store::ImportedTrans converted(const store::DtmRow& row) const;
    void take_topics();
    void finish() const;
    [[noreturn]] void refuse() const;

    std::string schema_;
    bool skip_bad_;
    store::DtmTables tables_;
    Oid owner_ = GetUserId();
    pg::UnixTime now_ = pg::now();

    std::size_t seen_ = 0;
    std::map<std::pair<std::string, std::string>, std::int64_t> taken_;  // by type and status
    std::int64_t topics_ = 0;
    std::vector<Left> unfit_;  // cannot be taken
    std::vector<Left> known_;  // their gid is one of ours
    std::vector<Left> kept_;   // topics that are here already
    std::optional<pg::UnixTime> oldest_;
};

// At once when there is something to do now, else when there will be.
std::optional<core::Time> due_of(const wire::Takeover& t, core::Time now,
                                 const core::Policy& policy) {
    const core::Decision next = core::decide(t.request, t.state, core::Loaded{}, now, policy);
    const bool acts = next.write != core::Write::none || !next.calls.empty();
    return acts ? now : next.wake;
}

store::ImportedTrans Import::converted(const store::DtmRow& row) const {
    wire::Takeover t = wire::take_over(row.trans, row.branches, now_, hub::policy());
    const core::Policy policy = hub::policy();
    store::ImportedTrans trans;
    trans.gid = t.request.gid;
    trans.type = t.request.type;
    trans.status = t.state.status;
    trans.request = std::move(t.text);
    trans.progress = std::move(t.progress);
    trans.create_time = t.state.create_time;
    trans.due = due_of(t, now_, policy);
    trans.interval_s =
        static_cast<std::int32_t>(core::current_interval(t.request, t.state, policy).count());
    trans.rollback_reason = row.rollback_reason;
    trans.result = row.result;
    trans.registered = std::move(t.registered);
    return trans;
}

std::vector<store::ImportedTrans> Import::readable(std::span<const std::string> gids) {
    std::vector<store::ImportedTrans> all;
    const std::vector<store::DtmRow> rows = tables_.read(gids);
    std::map<std::string_view, int> times;
    for (const store::DtmRow& row : rows) ++times[row.trans.gid];
    for (const store::DtmRow& row : rows) {
        const wire::DtmTrans& t = row.trans;
        try {
            if (times[t.gid] > 1) {
                throw wire::BadRequest("$.gid", "there are two transactions with this gid");
            }
            all.push_back(converted(row));
        } catch (const wire::BadRequest& bad) {
            unfit_.push_back({false, t.trans_type, t.status, t.gid, bad.what()});
        }
    }
    return all;
}

void Import::take_batch(std::span<const std::string> gids) {
    const std::vector<store::ImportedTrans> all = readable(gids);
    // It will be an error: only what it says is still to be found out.
    if (!unfit_.empty() && !skip_bad_) return;
    std::vector<bool> inserted;
    {
        const store::AsOwner as_owner;
        inserted = store::insert_imported(all, owner_);
    }
    std::vector<std::string> done;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const store::ImportedTrans& t = all[i];
        const std::string type(core::to_string(t.type)), status(core::to_string(t.status));
        if (!inserted[i]) {
            known_.push_back({false, type, status, t.gid, "its gid is in use here"});
            continue;
        }
        done.push_back(t.gid);
        ++taken_[{type, status}];
        oldest_ = std::min(oldest_.value_or(t.create_time), t.create_time);
    }
    tables_.remove(done);
}

void Import::take_transactions() {
    const std::vector<std::string> gids = tables_.unfinished();
    seen_ = gids.size();
    std::span<const std::string> left(gids);
    while (!left.empty()) {
        const std::size_t piece = std::min(left.size(), batch_size);
        take_batch(left.first(piece));
        left = left.subspan(piece);
    }
}

std::optional<std::string> fault_of(const store::DtmTopic& topic) {
    if (topic.name.empty()) return "its name is empty";
    try {
        for (const auto& s : store::parse_subscribers(topic.name, topic.subscribers)) {
            store::check_subscriber_url(s.url);
        }
    } catch (const pg::SqlError& error) {
        return error.what();
    } catch (const wire::BadRequest& bad) {
        return bad.what();
    }
    return std::nullopt;
}

void Import::take_topics() {
    for (const store::DtmTopic& topic : tables_.topics()) {
        if (auto fault = fault_of(topic)) {
            unfit_.push_back({true, "", "", topic.name, std::move(*fault)});
            continue;
        }
        bool inserted = false;
        {
            const store::AsOwner as_owner;
            inserted = store::insert_imported(store::ImportedTopic{topic.name, topic.subscribers,
                                                                   topic.version, topic.create_time,
                                                                   topic.update_time});
        }
        if (inserted) {
            tables_.remove_topic(topic.name);
            ++topics_;
        } else {
            kept_.push_back({true, "", "", topic.name, "a topic of this name is here already"});
        }
    }
}

std::string listed(const std::vector<Left>& all, bool with_reason) {
    std::string out;
    for (std::size_t i = 0; i < std::min(named, all.size()); ++i) {
        const Left& left = all[i];
        if (i > 0) out += with_reason ? "\n" : ", ";
        if (with_reason) out += left.is_topic ? "topic " : "gid ";
        out += in_quotes(left.name);
        if (with_reason) out += ": " + left.reason;
    }
    if (all.size() > named) {
        out += with_reason ? "\n" : " ";
        out += "and " + std::to_string(all.size() - named) + " more";
    }
    return out;
}

void Import::refuse() const {
    const std::string in = " in schema " + in_quotes(schema_);
    const char* name = schema_.c_str();
    const std::string literal = pg::call([name] { return quote_literal_cstr(name); });
    const std::string call = "SELECT * FROM dtm_import(" + literal + ", skip_bad => true)";
    if (unfit_.empty()) {
        throw pg::SqlError("TD002",
                           counted(known_.size(), "gid", "gids") + in + " " +
                               (known_.size() == 1 ? "is" : "are") + " in use here",
                           listed(known_, false),
                           "Nothing was taken over. A gid names one transaction for ever; " + call +
                               " takes the others and leaves these to dtm.");
    }
    const auto topics = static_cast<std::size_t>(
        std::ranges::count_if(unfit_, [](const Left& left) { return left.is_topic; }));
    const std::size_t transactions = unfit_.size() - topics;
    std::string what;
    if (transactions > 0) {
        what = std::to_string(transactions) + " of " +
               counted(seen_, "unfinished transaction", "unfinished transactions");
    }
    if (topics > 0) what += (what.empty() ? "" : " and ") + counted(topics, "topic", "topics");
    throw pg::SqlError("TD001", what + in + " cannot be taken over", listed(unfit_, true),
                       "Nothing was taken over. " + call +
                           " takes the others, leaves these to dtm and lists them.");
}

void Import::finish() const {
    const store::AsOwner as_owner;
    std::int64_t transactions = 0;
    for (const auto& [kind, number] : taken_) transactions += number;
    if (transactions + topics_ == 0) return;
    if (oldest_) store::admit_older(*oldest_);
    const auto number = [](std::int64_t n, const char* one, const char* more) {
        return counted(static_cast<std::uint64_t>(n), one, more);
    };
    store::record_event("", "import", session_role(),
                        number(transactions, "transaction", "transactions") + " and " +
                            number(topics_, "topic", "topics") + " of dtm from schema " + schema_);
    DTM_CRASH_POINT("api.import_written");
    // Not the ring: who is named there insists on a call, and these may be many.
    hub::pending_control();
}

void Import::run() {
    take_transactions();
    take_topics();
    if (!skip_bad_ && !(unfit_.empty() && known_.empty())) refuse();
    finish();
}

void Import::report(ResultRows& rows) const {
    using Text = std::string_view;
    const auto add = [&rows](Text outcome, Text type, Text status, std::int64_t number,
                             const Left* left) {
        pg::Args values;
        values.text(outcome).text(type).text_or_null(status).int8(number);
        if (left != nullptr) {
            values.text(left->name).text(left->reason);
        } else {
            values.null().null();
        }
        rows.add(values);
    };
    for (const auto& [kind, number] : taken_)
        add("taken", kind.first, kind.second, number, nullptr);
    if (topics_ > 0) add("taken", "topic", "", topics_, nullptr);
    for (const auto* all : {&unfit_, &known_, &kept_}) {
        for (const Left& left : *all) {
            add("left", left.is_topic ? "topic" : Text(left.trans_type), left.status, 1, &left);
        }
    }
}

// Whoever may read and empty some tables could else have anything called.
void require_submitter(Oid own_function) {
    const pg::Spi spi;
    if (store::may_submit(own_function)) return;
    throw pg::SqlError("42501", "permission denied for function dtm_import",
                       "It submits transactions, and this role may not do that.",
                       "SELECT dtm_grant(role, 'submit') allows it.");
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_import) {
    api::ResultRows rows(fcinfo);
    api::require_writable("dtm_import");
    auto schema = pg::opt_text_arg(fcinfo, 0);
    if (!schema) throw pg::SqlError("TD001", "the schema is NULL", "Field: schema");
    const bool skip_bad = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
    const pg::SafeSearchPath path;
    api::require_submitter(fcinfo->flinfo->fn_oid);
    api::Import import(std::move(*schema), skip_bad);
    import.run();
    import.report(rows);
    return Datum{0};
}
