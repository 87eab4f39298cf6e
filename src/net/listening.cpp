#include "net/listening.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <optional>
#include <system_error>

namespace dtm::net {

namespace {

// Connections that wait to be accepted; the kernel has a limit of its own (net.core.somaxconn).
constexpr int backlog = 4096;

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
    bool every_address = false;

    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, port);
    if (error != std::errc() || stop != end) return std::nullopt;
    return port;
}

SocketAddress any_ipv4(std::uint16_t port) {
    SocketAddress address;
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&address.storage, &in, sizeof in);
    address.size = sizeof in;
    return address;
}

std::optional<SocketAddress> parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return std::nullopt;
    std::string host(text.substr(0, colon));
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) return std::nullopt;

    SocketAddress address = any_ipv4(*port);
    auto& in = reinterpret_cast<sockaddr_in&>(address.storage);
    if (host == "localhost") host = "127.0.0.1";
    if (::inet_pton(AF_INET, host.c_str(), &in.sin_addr) == 1) return address;

    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(*port);
    address.every_address = host == "*";
    if (address.every_address) host = "[::]";
    if (host.size() < 2 || host.front() != '[' || host.back() != ']') return std::nullopt;
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) != 1) return std::nullopt;
    std::memcpy(&address.storage, &in6, sizeof in6);
    address.size = sizeof in6;
    return address;
}

[[noreturn]] void fail(const char* action, std::string_view address) {
    const int code = errno;
    throw ListenError(std::string(action) + " " + std::string(address) + ": " +
                          std::generic_category().message(code),
                      code);
}

UniqueFd open_bound(const SocketAddress& address, std::string_view text) {
    UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) fail("socket for", text);
    const int one = 1;
    const int zero = 0;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    // Accepted sockets inherit it: one system call less for each.
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (address.every_address && address.storage.ss_family == AF_INET6) {
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
    }
    if (::bind(fd.get(), address.get(), address.size) != 0) fail("bind", text);
    if (::listen(fd.get(), backlog) != 0) fail("listen on", text);
    return fd;
}

int port_of(const UniqueFd& fd) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
    // The port is at the same place for both families.
    return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
}

}  // namespace

Listening open_listening(std::string_view text) {
    const auto address = parse(text);
    if (!address) {
        throw ListenError("\"" + std::string(text) +
                              "\" is not an address and a port, like 127.0.0.1:36789, "
                              "[::1]:36789 or *:36789",
                          0);
    }
    Listening listening;
    try {
        listening.socket = open_bound(*address, text);
    } catch (const ListenError& error) {
        // A machine without IPv6.
        if (!address->every_address ||
            (error.code != EAFNOSUPPORT && error.code != EADDRNOTAVAIL)) {
            throw;
        }
        const auto port = reinterpret_cast<const sockaddr_in6&>(address->storage).sin6_port;
        listening.socket = open_bound(any_ipv4(ntohs(port)), text);
    }
    listening.port = port_of(listening.socket);
    listening.address =
        std::string(text.substr(0, text.rfind(':') + 1)) + std::to_string(listening.port);
    return listening;
}

}  // namespace dtm::net
