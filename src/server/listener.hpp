// What the settings say about the listener.
#pragma once

#include "net/server.hpp"

namespace dtm::server {

// Does this database have the API, by dtm.api_database and dtm.http_listen?
bool is_api_database();
// Reads the files of token, certificate and key. What cannot be read is logged once per change, and
// then nobody listens: a server without the token that was meant would be open to everybody.
net::ServerSettings listener_settings();
// Tells dtm_check() how the listener is doing.
void publish(const net::ListenerState& state);

}  // namespace dtm::server
