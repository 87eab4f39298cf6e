// Is there anybody who calls the branches of this database's transactions? Asked by dtm_explain,
// dtm_check and dtm.attention, so that they answer alike.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::api {

enum class Dispatch {
    running,
    not_preloaded,
    standby,
    foreign,
    paused,
    no_launcher,
    no_coordinator
};

struct DispatchState {
    Dispatch what = Dispatch::running;
    int running = 0;  // coordinators of this database
    int wanted = 0;
    std::string because;  // "no coordinator runs in this database"; empty when running
    std::string remedy;
};
DispatchState dispatch_state();

// Which of the paused hosts is that of this URL. None also where it is spelled in a way that only
// the coordinator sees through.
std::optional<std::string> paused_host(const std::vector<std::string>& paused,
                                       std::string_view url);

// A row that is due for longer than this was not picked up by any sweep that should have.
std::chrono::milliseconds late_after();

}  // namespace dtm::api
