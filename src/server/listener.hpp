// What the settings say about the listener, and what people hear of it.
#pragma once

#include "net/server.hpp"

namespace dtm::server {

// Does this database have the API, by dtm.api_database and dtm.http_listen?
bool is_api_database();
// Reads the files of token, certificate and key. What cannot be read is logged once per change, and
// stays as it is in `before`. Where nobody listens by `before`, or it has no token (no certificate)
// when one is wanted, nobody listens: the server would be open to everybody.
net::ServerSettings listener_settings(const net::ServerSettings& before);
// Tells dtm_check() how the listener is doing.
void publish(const net::ListenerState& state);
// Another database has the API now.
void withdraw();

}  // namespace dtm::server
