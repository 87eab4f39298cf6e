// dtm_check(): is this server able to keep the promises, and if not, what is to be done? One row
// per subject, also when all is well, so that a reader sees what was looked at. Changes nothing.
#include "api/dispatch.hpp"
#include "api/result.hpp"
#include "api/version.hpp"
#include "hub/endpoints.hpp"
#include "hub/listener.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "hub/shortage.hpp"
#include "store/access.hpp"
#include "store/control.hpp"
#include "store/health.hpp"
#include "store/permitted.hpp"
#include "store/rights.hpp"

extern "C" {
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "postmaster/bgworker_internals.h"
#include "utils/acl.h"
}

namespace dtm::api {

namespace {

struct Finding {
    std::string_view level;  // ok, note, warning, error
    std::string_view subject;
    std::string finding;
    std::string remedy;
};

// A prepared transaction older than this was probably forgotten by whoever prepared it.
constexpr std::chrono::minutes old_prepared{1};
// By less than this clocks are set back every day.
constexpr std::chrono::minutes clock_step{1};

Finding library(const store::Health& h) {
    if (hub::shared_memory_present())
        return {"ok", "library", "loaded when the server started", ""};
    return {
        "error", "library",
        "dtm_pg is not in shared_preload_libraries: submits are stored, and nobody calls anything",
        "Set shared_preload_libraries = '" + h.preload_libraries +
            (h.preload_libraries.empty() ? "" : ", ") +
            "dtm_pg' in postgresql.conf and restart the server."};
}

Finding version(const store::Health& h) {
    if (h.extension_version == library_version) {
        return {"ok", "version", "library and SQL are version " + h.extension_version, ""};
    }
    return {"warning", "version",
            "the library is version " + std::string(library_version) +
                ", the SQL in this database " + h.extension_version,
            "Run ALTER EXTENSION dtm_pg UPDATE; if the SQL is the newer one, install its library."};
}

Finding launcher() {
    if (RecoveryInProgress())
        return {"ok", "launcher", "not running: this server is a standby", ""};
    if (hub::launcher_pid() != 0) {
        return {"ok", "launcher", "running, pid " + std::to_string(hub::launcher_pid()), ""};
    }
    if (!hub::shared_memory_present()) {
        return {"error", "launcher", "not running: the library is not preloaded", "See library."};
    }
    return {"error", "launcher", "not running",
            "It restarts by itself within seconds; if not, see the server log and "
            "max_worker_processes."};
}

Finding coordinator() {
    const DispatchState d = dispatch_state();
    switch (d.what) {
        case Dispatch::running:
            return {
                "ok", "coordinator",
                counted(static_cast<std::uint64_t>(d.running), "runs", "run") + " in this database",
                ""};
        case Dispatch::paused:
            return {"warning", "coordinator", d.because, d.remedy};
        case Dispatch::standby:
            return {"note", "coordinator", d.because, d.remedy};
        case Dispatch::not_preloaded:
            return {"error", "coordinator", "not running: the library is not preloaded",
                    "See library."};
        case Dispatch::foreign:
        case Dispatch::no_launcher:
        case Dispatch::no_coordinator:
            break;
    }
    return {"error", "coordinator", d.because, d.remedy};
}

std::string database_called(Oid oid) {
    const char* const name = pg::call([oid] { return get_database_name(oid); });
    return name == nullptr ? std::to_string(oid) : in_quotes(name);
}

// What the launcher could not start, here or where it knows that somebody waits.
std::optional<Finding> nobody_is_free() {
    for (const hub::Shortage& s : hub::shortages()) {
        if (!s.wanted && s.database != MyDatabaseId) continue;
        const bool process = s.lacking == hub::Lacking::process;
        const std::string setting =
            process ? "max_worker_processes is " + std::to_string(max_worker_processes)
                    : "dtm.max_coordinators is " + std::to_string(hub::settings.max_coordinators);
        return Finding{"error", "max_worker_processes",
                       "no place is free for the coordinator of database " +
                           database_called(s.database) + ": " + setting,
                       process ? "Raise max_worker_processes and restart the server."
                               : "Raise dtm.max_coordinators and restart the server."};
    }
    return std::nullopt;
}

// The launcher and every coordinator need a worker process each; so do parallel queries and others.
Finding worker_processes() {
    if (auto shortage = nobody_is_free()) return std::move(*shortage);
    const int ours = 1 + static_cast<int>(hub::slots().size());
    const std::string finding = "max_worker_processes is " + std::to_string(max_worker_processes) +
                                ", dtm_pg uses " + std::to_string(ours);
    // One for logical replication, which takes its place first.
    if (ours < max_worker_processes) return {"ok", "max_worker_processes", finding, ""};
    return {
        "warning", "max_worker_processes", finding,
        "Raise max_worker_processes and restart the server: there must be one for each database "
        "with dtm_pg (times dtm.workers), one for the launcher, and those of parallel query."};
}

Finding late_rows(const store::Health& h, pg::UnixTime now) {
    if (h.last_write && *h.last_write > now + clock_step) {
        return {"warning", "due transactions",
                "the clock was set back: a row was written at " + time_text(*h.last_write) +
                    ", which is yet to come, and what waits for its next attempt waits that much "
                    "longer",
                "SELECT dtm_retry_all() lets them be called now."};
    }
    if (h.late == 0)
        return {"ok", "due transactions", "none is waiting for longer than it should", ""};
    return {"warning", "due transactions",
            counted(static_cast<std::uint64_t>(h.late), "is", "are") +
                " due and not worked on, oldest since " + time_text(*h.oldest_due),
            "See coordinator above and dtm.attention; dtm_explain(gid) tells of a single one."};
}

Finding attention(const store::Health& h) {
    if (h.unfinished_aside == 0) return {"ok", "attention", "no transaction is put aside", ""};
    return {"warning", "attention",
            counted(static_cast<std::uint64_t>(h.unfinished_aside), "transaction is",
                    "transactions are") +
                " put aside: nothing happens to them before somebody acts",
            "SELECT * FROM dtm.attention says why and what can be done."};
}

// Scheme, host and port: the rest of a webhook's URL is often a secret.
std::string host_of(std::string_view url) {
    const std::size_t scheme = url.find("://");
    if (scheme == url.npos) return "an address without a scheme";
    std::string_view host = url.substr(scheme + 3);
    host = host.substr(0, host.find_first_of("/?#"));
    if (const auto at = host.rfind('@'); at != host.npos) host.remove_prefix(at + 1);
    return std::string(url.substr(0, scheme + 3)).append(host);
}

Finding alerts() {
    const char* url = hub::settings.alert_webhook;
    if (hub::settings.alert_retry_limit == 0) {
        return {"note", "alerts",
                "dtm.alert_retry_limit is 0: nobody is told of branches that keep failing",
                "Set it to the number of errors in a row that a person should know of."};
    }
    if (!hub::is_set(url)) {
        return {"note", "alerts",
                "dtm.alert_webhook is empty: nobody is told of branches that keep failing",
                "Set it to a URL, or watch dtm.attention."};
    }
    return {"ok", "alerts",
            "after " + std::to_string(hub::settings.alert_retry_limit) + " errors in a row to " +
                host_of(url),
            ""};
}

// The first ones by name, the others by number.
class List {
public:
    void add(const std::string& item) {
        if (++count_ <= shown) text_ += (text_.empty() ? "" : ", ") + item;
    }
    std::size_t count() const { return count_; }
    std::string text() const {
        if (count_ <= shown) return text_;
        return text_ + " and " + std::to_string(count_ - shown) + " more";
    }

private:
    static constexpr std::size_t shown = 3;
    std::size_t count_ = 0;
    std::string text_;
};

Finding circuit_breakers() {
    List open;
    for (const hub::EndpointInfo& e : hub::endpoints()) {
        if (e.database != MyDatabaseId || e.breaker == "closed") continue;
        open.add(e.endpoint + " (" + counted(e.errors_in_a_row, "error", "errors") +
                 " in a row, the last: " + e.last_error + ")");
    }
    if (open.count() == 0) return {"ok", "circuit breakers", "none is open", ""};
    return {"warning", "circuit breakers",
            "calls are kept back because nobody answers at " + open.text(),
            "Mend the services: they are tried from time to time. dtm.stat_endpoint says when, "
            "dtm.attention whom it concerns."};
}

Finding orders() {
    List paused, redirected;
    const store::Control control = store::control();
    if (control.everything_paused) paused.add("everything (" + *control.everything_paused + ")");
    for (const std::string& host : control.paused_hosts) paused.add(host);
    for (const auto& [from, to] : control.redirects) {
        redirected.add(std::string(from).append(" to ").append(to));
    }
    std::string finding;
    if (paused.count() > 0) finding = "paused: " + paused.text();
    if (redirected.count() > 0) {
        finding += (finding.empty() ? "redirected: " : "; redirected: ") + redirected.text();
    }
    if (finding.empty()) return {"ok", "orders", "no host is paused, no URL redirected", ""};
    return {paused.count() > 0 ? "warning" : "note", "orders", finding,
            "dtm.control says who ordered it; dtm_resume(host => '...'), dtm_resume(everything => "
            "true) and dtm_redirect(old_prefix, NULL) take it back."};
}

Finding durability(const store::Health& h) {
    if (!h.fsync) {
        return {"warning", "durability",
                "fsync is off: a crash of the machine loses acknowledged submits",
                "Turn fsync on, unless this server is a test."};
    }
    if (h.synchronous_commit == "off") {
        return {"warning", "durability",
                "synchronous_commit is off: a crash may lose the submits of the last moments",
                "Set synchronous_commit to on, at least in transactions that submit."};
    }
    List lazy;
    for (const std::string& who : h.commit_lazily) lazy.add(who);
    if (lazy.count() > 0) {
        return {"warning", "durability",
                "synchronous_commit is off for " + lazy.text() +
                    ": a crash may lose the submits of the last moments",
                "ALTER ROLE or ALTER DATABASE ... RESET synchronous_commit, or set it to on in "
                "transactions that submit."};
    }
    return {"ok", "durability", "commits are flushed to disk", ""};
}

Finding replication(const store::Health& h) {
    if (h.asynchronous_standbys == 0) {
        return {"ok", "replication", "no asynchronous standby is attached", ""};
    }
    return {
        "warning", "replication",
        counted(static_cast<std::uint64_t>(h.asynchronous_standbys), "standby is", "standbys are") +
            " asynchronous: a failover to it may lose submits and decisions",
        h.synchronous_standby_names.empty()
            ? "Set synchronous_standby_names, or fail over to a synchronous standby only."
            : "Fail over to a synchronous standby only."};
}

Finding prepared(const store::Health& h, pg::UnixTime now) {
    if (!h.oldest_prepared || now - *h.oldest_prepared < old_prepared) {
        return {"ok", "prepared transactions", "none holds our rows for longer than a minute", ""};
    }
    return {
        "warning", "prepared transactions",
        counted(static_cast<std::uint64_t>(h.prepared), "holds", "hold") +
            " rows of dtm's tables, the oldest, " + in_quotes(h.oldest_prepared_name) + ", for " +
            duration_text(now - *h.oldest_prepared),
        "COMMIT PREPARED or ROLLBACK PREPARED it: what it submitted or ordered waits for that, and "
        "so may others."};
}

Finding barrier(const store::Health& h, pg::UnixTime now) {
    if (!h.barrier_table) {
        return {"warning", "barrier", "the table dtm_barrier.barrier does not exist",
                "SELECT dtm.install_barrier() makes it; in a database of an older version first "
                "ALTER EXTENSION dtm_pg UPDATE."};
    }
    if (!h.barrier_is_ours) {
        return {
            "note", "barrier",
            "dtm_barrier.barrier was made by somebody else after CREATE EXTENSION: old rows stay",
            "SELECT dtm.install_barrier() adopts it."};
    }
    if (h.barrier_runs_code) {
        return {"warning", "barrier",
                "dtm_barrier.barrier has triggers, rules, policies or functions: old rows stay",
                "Drop them, or call dtm_barrier_purge() from a job of your own."};
    }
    const std::chrono::seconds retention{hub::settings.barrier_retention_s};
    if (retention.count() == 0) {
        return {"note", "barrier", "dtm.barrier_retention is 0: barrier rows stay for ever",
                "Set it to a time that no transaction outlives, or call dtm_barrier_purge()."};
    }
    const std::string kept = duration_text(retention);
    // The rows of this database's own transactions stay; those at other participants may not.
    if (h.oldest_unfinished && now - *h.oldest_unfinished > retention / 2) {
        return {"warning", "barrier",
                "barrier rows are kept for " + kept + ", and a transaction is unfinished for " +
                    duration_text(now - *h.oldest_unfinished),
                "Raise dtm.barrier_retention, here and at the participants, or end the "
                "transaction: a call that comes after its barrier row is gone runs again."};
    }
    return {"ok", "barrier", "rows are kept for " + kept, ""};
}

Finding rights() {
    List roles, code, open;
    for (const std::string& right : store::rights_of_others()) roles.add(right);
    for (const std::string& thing : store::code_on_tables()) code.add(thing);
    for (const std::string& function : store::functions_of_everybody()) open.add(function);
    if (roles.count() > 0) {
        return {"error", "rights",
                "who may write dtm's tables acts with the rights of their owner: " + roles.text(),
                "REVOKE it, and see whether anything was changed; dtm_grant() gives all that "
                "roles need. ALTER DEFAULT PRIVILEGES may be where it came from."};
    }
    if (open.count() > 0) {
        return {"error", "rights", "everybody may execute " + open.text(),
                "REVOKE EXECUTE ON FUNCTION ... FROM PUBLIC; dtm_grant() gives roles what they "
                "need."};
    }
    if (code.count() > 0) {
        return {"warning", "rights",
                "dtm's tables have something of somebody else's: " + code.text(),
                "Drop it: it runs with the rights of the tables' owner, and an error in it keeps "
                "transactions from going on."};
    }
    return {"ok", "rights", "nobody but their owner writes dtm's tables", ""};
}

// They go on, but a dump has the bare number, which may be another role's where it is restored.
Finding owners() {
    List missing;
    for (const std::string& owner : store::missing_owners()) missing.add(owner);
    if (missing.count() == 0) {
        return {"ok", "owners", "every unfinished transaction belongs to a role", ""};
    }
    return {"warning", "owners",
            "unfinished transactions belong to roles that do not exist: " + missing.text(),
            "They go on, and observers see them. Before a dump give them to a role, as superuser: "
            "UPDATE dtm.trans SET owner = 'role' WHERE owner = number"};
}

bool is_loopback(std::string_view address) {
    const std::string_view host = address.substr(0, address.rfind(':'));
    return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

// What may be done without a token is for whoever can connect.
std::optional<Finding> open_to_all(const std::string& where, const std::string& role, bool local,
                                   bool mighty) {
    if (hub::is_set(hub::settings.api_token_file) || (local && !mighty)) return std::nullopt;
    const std::string whoever = local ? "every process" : "every machine";
    std::string remedy = "Set dtm.api_token_file, so that clients must say who they are";
    if (!local) remedy += ", or dtm.http_listen to 127.0.0.1";
    if (mighty) remedy += local ? ", or" : "; set";
    if (mighty) remedy += " dtm.api_role to a role without other rights";
    return Finding{"warning", "API server",
                   where + ", and " + whoever + " that reaches it acts as role " + role +
                       (mighty ? ", who has the rights of the owner of dtm's tables" : ""),
                   remedy + "."};
}

// What services need of the API and dtm.api_role may not do.
std::string refused_to(Oid role) {
    List refused;
    if (!hub::is_set(hub::settings.api_role)) return refused.text();
    const store::Permitted may = store::permitted(role);
    for (std::size_t i = 0; i < may.size(); ++i) {
        const store::Door door = store::door_of(static_cast<store::Deed>(i));
        if (!may.at(i) && door.level == "submit") refused.add(std::string(door.name) + "()");
    }
    return refused.text();
}

Finding listens(const hub::ListenerInfo& state) {
    const Oid role = store::role_or_owner(hub::settings.api_role);
    if (!OidIsValid(role)) {
        return {"error", "API server",
                "every request is refused: role " + in_quotes(hub::settings.api_role) +
                    " of dtm.api_role does not exist",
                "CREATE ROLE it, or set dtm.api_role to a role that exists and SELECT "
                "pg_reload_conf()."};
    }
    const std::string name = in_quotes(pg::call([role] { return GetUserNameFromId(role, false); }));
    const std::string where = "listens at " + state.listening;
    const Oid owner = store::tables_owner();
    const bool mighty = pg::call([&] { return has_privs_of_role(role, owner); });
    if (auto open = open_to_all(where, name, is_loopback(state.listening), mighty))
        return std::move(*open);
    if (const std::string refused = refused_to(role); !refused.empty()) {
        return {"warning", "API server",
                where + ", but role " + name + " of dtm.api_role may not execute " + refused +
                    ": such requests are refused",
                store::grant_call(role, "submit") + " lets clients submit."};
    }
    return {"ok", "API server",
            where + " for role " + name + ", " +
                counted(state.connections, "connection is", "connections are") + " open",
            ""};
}

Finding nobody_listens(const std::string& listen, const std::string& database) {
    const std::string finding =
        "nobody listens at " + listen + " for database " + in_quotes(database);
    const Oid oid = pg::call([&] { return get_database_oid(database.c_str(), true); });
    if (!OidIsValid(oid)) {
        return {"error", "API server", finding + ", which does not exist",
                "Set dtm.api_database to the database whose coordinator shall listen."};
    }
    const DispatchState here = dispatch_state();
    if (oid != MyDatabaseId || here.because.empty()) {
        return {"error", "API server", finding,
                "The coordinator of that database listens: SELECT * FROM dtm_check() there says "
                "whether it runs."};
    }
    return {here.what == Dispatch::standby ? "note" : "error", "API server",
            finding + ": " + here.because, here.remedy};
}

Finding api_server() {
    const char* listen = hub::settings.http_listen;
    const char* database = hub::settings.api_database;
    const bool wanted = hub::is_set(listen);
    const bool named = hub::is_set(database);
    if (!wanted && !named) return {"ok", "API server", "off: dtm.http_listen is empty", ""};
    if (!wanted || !named) {
        return {"warning", "API server",
                wanted ? "dtm.http_listen is set, and dtm.api_database is not: nobody listens"
                       : "dtm.api_database is set, and dtm.http_listen is not: nobody listens",
                "Set both, or none."};
    }
    const auto state = hub::listener();
    if (state && !state->trouble.empty()) {
        const std::string listens =
            state->listening.empty()
                ? "nobody listens: "
                : "listens at " + state->listening + " with the settings from before: ";
        return {"error", "API server", listens + state->trouble,
                "Remove the cause; the address is tried again every second, files are read again "
                "after pg_reload_conf()."};
    }
    if (state && !state->listening.empty()) return listens(*state);
    return nobody_listens(listen, database);
}

Finding encoding() {
    if (GetDatabaseEncoding() == PG_UTF8) return {"ok", "encoding", "the database is in UTF8", ""};
    return {"warning", "encoding",
            std::string("the database is in ") + GetDatabaseEncodingName() +
                ": requests must be plain ASCII, others are refused",
            "Use a database with ENCODING 'UTF8'."};
}

std::vector<Finding> check() {
    const store::AsOwner as_owner;
    const pg::UnixTime now = pg::now();
    const store::Health h = store::health(now - late_after());
    return {library(h),         version(h),        launcher(),    coordinator(),
            worker_processes(), late_rows(h, now), attention(h),  circuit_breakers(),
            orders(),           alerts(),          durability(h), replication(h),
            prepared(h, now),   barrier(h, now),   rights(),      owners(),
            api_server(),       encoding()};
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_check) {
    api::ResultRows rows(fcinfo);
    for (const api::Finding& f : api::check()) {
        pg::Args row;
        row.text(f.level).text(f.subject).text(f.finding).text_or_null(f.remedy);
        rows.add(row);
    }
    return Datum{0};
}
