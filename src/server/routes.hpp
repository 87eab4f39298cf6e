// The endpoints of dtm's HTTP API (dtm-compat.md 1.3), and which of them a request means.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dtm::server {

enum class Route : std::uint8_t {
    version,
    new_gid,
    prepare,
    submit,
    abort,
    force_stop,
    register_branch,
    prepare_workflow,
    query,
    all,
    reset_cron_time,
    reset_next_cron_time,
    subscribe,
    unsubscribe,
    delete_topic,
    scan_kv,
    query_kv,
    metrics,
    ping,
    json_rpc,
};

// The value of the metrics' label `api`: the last word of the path in lower case; a route, and
// never what a client wrote (D20).
std::string_view label(Route);

struct Match {
    std::optional<Route> route;
    std::string redirect;  // where the same request goes without its last slash; else empty
    std::string topic;     // delete_topic
};

// `path` without its query string. Doubled slashes count as one: clients below the C# one send them
// (appendix A). `operators`: the routes for people who run the server exist, too.
Match match(std::string_view method, std::string_view path, bool operators);

}  // namespace dtm::server
