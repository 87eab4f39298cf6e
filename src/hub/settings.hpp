// The settings of dtm_pg (GUCs, all named dtm.*), in one place. Reading one is reading a variable;
// nothing here acts on them.
#pragma once

#include "core/types.hpp"

namespace dtm::hub {

inline constexpr int default_alert_retry_limit = 3;

struct Settings {
    // Defaults for transactions that do not say otherwise (dtm-compat.md 5.15).
    int retry_interval_s = 10;
    int timeout_to_fail_s = 35;
    int request_timeout_s = 3;
    int max_retry_interval_s = 3600;
    // The coordinator.
    int sweep_interval_ms = 1000;
    int max_in_flight = 1000;
    int max_in_flight_per_host = 100;
    int max_active = 10000;
    int breaker_errors = 10;
    int breaker_max_interval_s = 60;
    int retention_s = 7 * 86400;  // 0: for ever
    int alert_retry_limit = default_alert_retry_limit;
    char* alert_webhook = nullptr;
    int workers = 1;
    int max_coordinators = 16;
    char* node_name = nullptr;
    // The API server.
    char* http_listen = nullptr;
    char* api_database = nullptr;
    char* api_role = nullptr;
    char* api_token_file = nullptr;
    char* api_tls_cert_file = nullptr;
    char* api_tls_key_file = nullptr;
    bool api_admin = true;
    int http_max_connections = 10000;
    // The barrier.
    bool strict_barrier = false;
    bool barrier_required = false;
    int barrier_retention_s = 30 * 86400;  // 0: for ever
};

extern Settings settings;

// Whether a setting of text says anything.
inline bool is_set(const char* text) { return text != nullptr && *text != '\0'; }

// Called once from _PG_init, whether the library is preloaded or not.
void define_settings();

core::Policy policy();

}  // namespace dtm::hub
