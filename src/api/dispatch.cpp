// See dispatch.hpp.
#include "api/dispatch.hpp"

#include "api/belonging.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "store/access.hpp"
#include "store/control.hpp"

#include <algorithm>

extern "C" {
#include "access/xlog.h"
}

namespace dtm::api {

namespace {

// What keeps a coordinator that runs from calling anybody.
std::optional<DispatchState> standing_order() {
    const store::AsOwner as_owner;
    if (const auto foreign = why_foreign()) {
        return DispatchState{Dispatch::foreign, 0, 0, "the coordinator calls nobody: " + *foreign,
                             "Run SELECT dtm_adopt() when the transactions shall go on here, and "
                             "nobody else works on them."};
    }
    if (const auto paused = store::control().everything_paused) {
        return DispatchState{Dispatch::paused, 0, 0, "everything is " + *paused,
                             "SELECT dtm_resume(everything => true) takes it up again."};
    }
    return std::nullopt;
}

}  // namespace

DispatchState dispatch_state() {
    DispatchState d;
    d.wanted = hub::settings.workers;
    if (RecoveryInProgress()) {
        d.what = Dispatch::standby;
        d.because = "this server is a standby, where no coordinator runs";
        d.remedy = "Ask the primary. After a promotion a coordinator starts here by itself.";
        return d;
    }
    if (!hub::shared_memory_present()) {
        d.what = Dispatch::not_preloaded;
        d.because = "the server runs without dtm_pg in shared_preload_libraries";
        d.remedy =
            "Add dtm_pg to shared_preload_libraries in postgresql.conf and restart the server.";
        return d;
    }
    if (const auto order = standing_order()) return *order;
    for (const hub::SlotInfo& slot : hub::slots()) {
        if (slot.database != MyDatabaseId || slot.pid == 0) continue;
        ++d.running;
        d.wanted = slot.workers;
    }
    if (d.running >= d.wanted && d.running > 0) return d;
    if (hub::launcher_pid() == 0) {
        d.what = Dispatch::no_launcher;
        d.because = "the process \"dtm launcher\" does not run";
        d.remedy =
            "It restarts by itself within seconds; if not, the server log says why "
            "(max_worker_processes may be too small).";
        return d;
    }
    d.what = Dispatch::no_coordinator;
    d.because = d.running == 0
                    ? "no coordinator runs in this database"
                    : "only " + std::to_string(d.running) + " of " + std::to_string(d.wanted) +
                          " coordinators run in this database";
    d.remedy =
        "The launcher starts it within seconds; if not, the server log says why "
        "(dtm.max_coordinators or max_worker_processes may be too small).";
    return d;
}

namespace {

// As an order has it: lower case, no user, no port that goes without saying. Empty: no URL.
std::string host_of(std::string_view url) {
    const std::size_t name = url.find("://");
    if (name == url.npos) return {};
    std::string_view authority = url.substr(name + 3);
    authority = authority.substr(0, authority.find_first_of("/?#"));
    authority.remove_prefix(authority.rfind('@') + 1);
    std::string host(url.substr(0, name + 3));
    host += authority;
    std::ranges::transform(host, host.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    });
    const std::string_view usual = host.starts_with("https://") ? ":443" : ":80";
    if (host.ends_with(usual)) host.resize(host.size() - usual.size());
    return host;
}

}  // namespace

std::optional<std::string> paused_host(const std::vector<std::string>& paused,
                                       std::string_view url) {
    if (paused.empty()) return std::nullopt;
    const std::string host = host_of(url);
    if (host.empty()) return std::nullopt;
    for (const std::string& order : paused) {
        if (host_of(order) == host) return order;
    }
    return std::nullopt;
}

std::chrono::milliseconds late_after() {
    // Ten sweeps, but never so short that a restart of the coordinator looks like a fault.
    return std::chrono::milliseconds(std::max(60000, 10 * hub::settings.sweep_interval_ms));
}

}  // namespace dtm::api
