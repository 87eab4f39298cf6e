// See routes.hpp.
#include "server/routes.hpp"

#include <array>

namespace dtm::server {
namespace {

struct Endpoint {
    std::string_view method;  // empty: any
    std::string_view path;
    Route route;
    bool for_operators = false;
};

constexpr std::string_view topic_path = "/api/dtmsvr/topic/";

constexpr std::array endpoints{
    Endpoint{"GET", "/api/dtmsvr/version", Route::version},
    Endpoint{"GET", "/api/dtmsvr/newGid", Route::new_gid},
    Endpoint{"POST", "/api/dtmsvr/prepare", Route::prepare},
    Endpoint{"POST", "/api/dtmsvr/submit", Route::submit},
    Endpoint{"POST", "/api/dtmsvr/abort", Route::abort},
    Endpoint{"POST", "/api/dtmsvr/registerBranch", Route::register_branch},
    Endpoint{"POST", "/api/dtmsvr/registerXaBranch", Route::register_branch},
    Endpoint{"POST", "/api/dtmsvr/registerTccBranch", Route::register_branch},
    Endpoint{"POST", "/api/dtmsvr/prepareWorkflow", Route::prepare_workflow},
    Endpoint{"GET", "/api/dtmsvr/query", Route::query},
    Endpoint{"GET", "/api/dtmsvr/subscribe", Route::subscribe, true},
    Endpoint{"GET", "/api/dtmsvr/unsubscribe", Route::unsubscribe, true},
    Endpoint{"POST", "/api/dtmsvr/forceStop", Route::force_stop, true},
    Endpoint{"GET", "/api/dtmsvr/all", Route::all, true},
    Endpoint{"GET", "/api/dtmsvr/resetCronTime", Route::reset_cron_time, true},
    Endpoint{"POST", "/api/dtmsvr/resetNextCronTime", Route::reset_next_cron_time, true},
    Endpoint{"GET", "/api/dtmsvr/scanKV", Route::scan_kv, true},
    Endpoint{"GET", "/api/dtmsvr/queryKV", Route::query_kv, true},
    Endpoint{"GET", "/api/metrics", Route::metrics},
    Endpoint{"", "/api/ping", Route::ping},
    Endpoint{"POST", "/api/json-rpc", Route::json_rpc},
};

std::string without_doubled_slashes(std::string_view path) {
    std::string out;
    out.reserve(path.size());
    for (const char c : path) {
        if (c != '/' || !out.ends_with('/')) out += c;
    }
    return out;
}

std::optional<Route> find(std::string_view method, std::string_view path, bool operators) {
    for (const Endpoint& e : endpoints) {
        const bool meant = path == e.path && (e.method.empty() || method == e.method);
        if (meant && (operators || !e.for_operators)) return e.route;
    }
    return std::nullopt;
}

}  // namespace

std::string_view label(Route route) {
    constexpr std::array<std::string_view, 20> names{
        "version",   "newgid",      "prepare",        "submit",
        "abort",     "forcestop",   "registerbranch", "prepareworkflow",
        "query",     "all",         "resetcrontime",  "resetnextcrontime",
        "subscribe", "unsubscribe", "topic",          "scankv",
        "querykv",   "metrics",     "ping",           "json-rpc"};
    return names.at(static_cast<std::size_t>(route));
}

Match match(std::string_view method, std::string_view path, bool operators) {
    const std::string clean = without_doubled_slashes(path);
    Match found;
    if (operators && method == "DELETE" && clean.starts_with(topic_path)) {
        const std::string_view topic = std::string_view(clean).substr(topic_path.size());
        const std::size_t slash = topic.find('/');
        if (topic.empty() || (slash != topic.npos && slash + 1 < topic.size())) return found;
        if (slash != topic.npos) {
            found.redirect = clean.substr(0, clean.size() - 1);
            return found;
        }
        found.route = Route::delete_topic;
        found.topic = topic;
        return found;
    }
    found.route = find(method, clean, operators);
    if (found.route || clean.size() < 2 || !clean.ends_with('/')) return found;
    std::string shorter = clean.substr(0, clean.size() - 1);
    if (find(method, shorter, operators)) found.redirect = std::move(shorter);
    return found;
}

}  // namespace dtm::server
