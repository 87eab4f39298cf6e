// Is there anybody who calls the branches of this database's transactions? Asked by dtm_explain,
// dtm_check and dtm.attention, so that they answer alike.
#pragma once

#include <chrono>
#include <string>

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

// A row that is due for longer than this was not picked up by any sweep that should have.
std::chrono::milliseconds late_after();

}  // namespace dtm::api
