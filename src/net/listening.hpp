// Opens the socket of a listener. Knows addresses and nothing of HTTP. Names are not looked up: a
// name server that does not answer must not stop the network thread.
#pragma once

#include "net/unique_fd.hpp"

#include <stdexcept>
#include <string>
#include <string_view>

namespace dtm::net {

// The text says what failed, of which address and why: "bind 127.0.0.1:36789: Address already in
// use".
class ListenError : public std::runtime_error {
public:
    ListenError(const std::string& what, int number) : std::runtime_error(what), code(number) {}
    int code;  // errno; 0: the address is none
};

struct Listening {
    UniqueFd socket;      // does not block
    std::string address;  // as it was asked for; the port that was chosen in place of port 0
    int port = 0;
};

// "127.0.0.1:36789", "[::1]:36789", "localhost:36789", and "*:36789" for all addresses of the
// machine. Throws ListenError.
Listening open_listening(std::string_view address);

}  // namespace dtm::net
