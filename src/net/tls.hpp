// TLS for accepted connections, with OpenSSL on sockets that do not block. Not Asio's: that keeps
// more than 34 kB of buffers for each connection, idle or not.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace dtm::net {

// What came of moving bytes.
struct Moved {
    enum class Outcome : std::uint8_t {
        done,
        wait_readable,  // nothing was moved: again when the socket is readable, or writable
        wait_writable,
        end,  // of what the peer sends
        failed
    };
    Outcome outcome = Outcome::failed;
    std::size_t bytes = 0;
};

// Certificate and key of a listener. Connections that use it keep it alive.
class TlsContext {
public:
    // PEM texts, the certificate of the server first. Throws std::runtime_error that says which of
    // them is wrong and why.
    TlsContext(const std::string& certificate, const std::string& key);
    SSL_CTX* get() const { return context_.get(); }

private:
    struct Deleter {
        void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    };
    std::unique_ptr<SSL_CTX, Deleter> context_;
};

class TlsStream {
public:
    // Throws std::bad_alloc.
    TlsStream(const TlsContext& context, int socket);

    Moved handshake();
    Moved read(std::span<char> into);
    Moved write(std::string_view bytes);
    // Says good-bye; does not wait for an answer.
    void shutdown();
    // The peer spoke HTTP instead of TLS; known after a handshake that failed.
    bool peer_spoke_http() const { return peer_spoke_http_; }

private:
    Moved outcome_of(int result);
    struct Deleter {
        void operator()(SSL* ssl) const { SSL_free(ssl); }
    };
    std::unique_ptr<SSL, Deleter> ssl_;
    bool broken_ = false;
    bool peer_spoke_http_ = false;
};

}  // namespace dtm::net
