// How the listener of the API is doing, in shared memory for dtm_check(): where it listens, or why
// it does not. One server of the cluster has it, the first coordinator of dtm.api_database.
#pragma once

#include "pg/postgres.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace dtm::hub {

struct ListenerInfo {
    std::string listening;  // empty: nobody listens
    std::string trouble;    // why not, or what of the settings could not be used
    std::uint32_t connections = 0;
};

void publish_listener(const ListenerInfo&);
// This process has the listener no more.
void withdraw_listener();
// nullopt: no process has the listener.
std::optional<ListenerInfo> listener();

// For hub/shared.
std::size_t listener_size();
void attach_listener();

}  // namespace dtm::hub
