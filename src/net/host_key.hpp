// What a host is called, however a URL spells it: limits, circuit breakers and pauses are of hosts.
// Knows text, and asks libcurl how it reads what is not plain; never a name server.
#pragma once

#include <string>
#include <string_view>

namespace dtm::net {

// "http://host:80" of a URL: lower case, without user and password, with the port, addresses in
// their usual form. Whatever has no scheme or no host is a host of its own.
std::string host_key(std::string_view url);

}  // namespace dtm::net
