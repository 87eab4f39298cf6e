// See settings.hpp. Each description is what SHOW and pg_settings print, so it is written for
// users.
#include "hub/settings.hpp"

#include "pg/call.hpp"

#include <climits>

namespace dtm::hub {

Settings settings;

namespace {

void int_setting(const char* name, const char* text, int* variable, int low, int high, int unit,
                 GucContext context = PGC_SIGHUP) {
    DefineCustomIntVariable(name, text, nullptr, variable, *variable, low, high, context, unit,
                            nullptr, nullptr, nullptr);
}

void string_setting(const char* name, const char* text, char** variable) {
    DefineCustomStringVariable(name, text, nullptr, variable, "", PGC_SIGHUP, 0, nullptr, nullptr,
                               nullptr);
}

void define_defaults_of_transactions() {
    int_setting("dtm.retry_interval",
                "Base interval between two attempts of a branch; doubles with each error.",
                &settings.retry_interval_s, 1, 86400, GUC_UNIT_S);
    int_setting("dtm.timeout_to_fail",
                "Age at which a prepared message is queried, where its request does not say.",
                &settings.timeout_to_fail_s, 1, INT_MAX / 1000, GUC_UNIT_S);
    int_setting("dtm.request_timeout", "Longest duration of one branch call.",
                &settings.request_timeout_s, 1, 3600, GUC_UNIT_S);
    int_setting("dtm.max_retry_interval", "Upper limit of the back-off between two attempts.",
                &settings.max_retry_interval_s, 1, 86400 * 30, GUC_UNIT_S);
}

// Only superusers, and members of pg_read_all_settings, see the value.
void secret_setting(const char* name, const char* text, char** variable) {
    DefineCustomStringVariable(name, text, nullptr, variable, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY,
                               nullptr, nullptr, nullptr);
}

void define_coordinator_settings() {
    int_setting("dtm.sweep_interval",
                "How often the coordinator looks for due transactions nobody told it about.",
                &settings.sweep_interval_ms, 10, 3600000, GUC_UNIT_MS);
    int_setting("dtm.max_in_flight", "Most branch calls one coordinator has open at a time.",
                &settings.max_in_flight, 1, 100000, 0);
    int_setting("dtm.max_in_flight_per_host",
                "Most branch calls one coordinator has open to one scheme, host and port.",
                &settings.max_in_flight_per_host, 1, 100000, 0);
    int_setting("dtm.max_active",
                "Most transactions one coordinator holds in memory; more wait in the table.",
                &settings.max_active, 10, 1000000, 0);
    int_setting("dtm.breaker_errors",
                "Calls of a host in a row without an answer that open its circuit breaker; 0 none.",
                &settings.breaker_errors, 0, 1000000, 0);
    int_setting("dtm.breaker_max_interval",
                "Longest time between two probes of a host whose circuit breaker is open.",
                &settings.breaker_max_interval_s, 1, 86400, GUC_UNIT_S);
    int_setting("dtm.retention",
                "Age at which the coordinator removes finished transactions; 0 never.",
                &settings.retention_s, 0, INT_MAX, GUC_UNIT_S);
    int_setting("dtm.workers", "Coordinators of a database; each owns a hash slice of the gids.",
                &settings.workers, 1, 64, 0);
    // Sizes shared memory; a server that did not preload the library has none and refuses the
    // setting.
    if (process_shared_preload_libraries_in_progress) {
        int_setting("dtm.max_coordinators", "Most coordinators of the whole cluster.",
                    &settings.max_coordinators, 1, 1024, 0, PGC_POSTMASTER);
    }
    int_setting(
        "dtm.alert_retry_limit",
        "Consecutive errors of a branch or host at which the alert webhook is called; 0 never.",
        &settings.alert_retry_limit, 0, INT_MAX, 0);
    // Who knows the URL of a chat's webhook may write there.
    secret_setting("dtm.alert_webhook",
                   "URL that is told of branches that keep failing and of dead hosts; empty: none.",
                   &settings.alert_webhook);
    string_setting("dtm.node_name", "Prefix of the gids that dtm_new_gid() makes; empty: none.",
                   &settings.node_name);
}

void bool_setting(const char* name, const char* text, bool* variable, GucContext context) {
    DefineCustomBoolVariable(name, text, nullptr, variable, *variable, context, 0, nullptr, nullptr,
                             nullptr);
}

void define_api_settings() {
    string_setting("dtm.http_listen",
                   "Address and port of the API server, e.g. 127.0.0.1:36789; empty: none.",
                   &settings.http_listen);
    string_setting("dtm.api_database", "Database whose coordinator is the API server.",
                   &settings.api_database);
    string_setting("dtm.api_role",
                   "Role that owns transactions of API clients; empty: the owner of dtm's tables.",
                   &settings.api_role);
    // Who may read the files may speak for everybody, so their names are nobody's business.
    secret_setting("dtm.api_token_file",
                   "File with the token that API clients must send; empty: none is asked for.",
                   &settings.api_token_file);
    secret_setting("dtm.api_tls_cert_file",
                   "Certificate chain (PEM) of the API server; with the key: HTTPS only.",
                   &settings.api_tls_cert_file);
    secret_setting("dtm.api_tls_key_file", "Private key (PEM) of the API server.",
                   &settings.api_tls_key_file);
    bool_setting("dtm.api_admin", "The API server has the routes of operators, too.",
                 &settings.api_admin, PGC_SIGHUP);
    int_setting("dtm.http_max_connections", "Most connections the API server has open at a time.",
                &settings.http_max_connections, 1, 1000000, 0);
}

void define_barrier_settings() {
    bool_setting("dtm.strict_barrier",
                 "A branch call that was undone before it arrived is an error (TDF00).",
                 &settings.strict_barrier, PGC_USERSET);
    bool_setting("dtm.barrier_required",
                 "Tables under dtm_protect() refuse writes of transactions without dtm_branch().",
                 &settings.barrier_required, PGC_SUSET);
    int_setting("dtm.barrier_retention",
                "Age at which the coordinator removes barrier rows; 0 never.",
                &settings.barrier_retention_s, 0, INT_MAX, GUC_UNIT_S);
}

}  // namespace

void define_settings() {
    pg::call([] {
        define_defaults_of_transactions();
        define_coordinator_settings();
        define_api_settings();
        define_barrier_settings();
#if PG_VERSION_NUM >= 150000
        MarkGUCPrefixReserved("dtm");
#else
        EmitWarningsOnPlaceholders("dtm");
#endif
    });
}

core::Policy policy() {
    core::Policy p;
    p.retry_interval = core::Seconds{settings.retry_interval_s};
    p.timeout_to_fail = core::Seconds{settings.timeout_to_fail_s};
    p.request_timeout = core::Seconds{settings.request_timeout_s};
    p.max_retry_interval = core::Seconds{settings.max_retry_interval_s};
    p.alert_retry_limit = static_cast<std::uint32_t>(settings.alert_retry_limit);
    return p;
}

}  // namespace dtm::hub
