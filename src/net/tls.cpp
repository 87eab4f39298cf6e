#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>

#include <algorithm>
#include <limits>
#include <new>
#include <stdexcept>

namespace dtm::net {

namespace {

struct BioDeleter {
    void operator()(BIO* bio) const { BIO_free(bio); }
};
struct CertificateDeleter {
    void operator()(X509* certificate) const { X509_free(certificate); }
};
struct KeyDeleter {
    void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;
using Certificate = std::unique_ptr<X509, CertificateDeleter>;
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;

[[noreturn]] void fail(const std::string& what) {
    const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    throw std::runtime_error(reason == nullptr ? what : what + ": " + reason);
}

// Without it OpenSSL asks for the password of a key on the terminal.
int refuse_password(char*, int, int, void*) { return -1; }

Bio open_text(const std::string& text) {
    const auto size = std::min<std::size_t>(text.size(), std::numeric_limits<int>::max());
    Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(size)));
    if (!bio) throw std::bad_alloc();
    return bio;
}

void use_certificates(SSL_CTX* context, const std::string& text) {
    const Bio bio = open_text(text);
    bool first = true;
    for (;;) {
        const Certificate certificate(
            PEM_read_bio_X509(bio.get(), nullptr, refuse_password, nullptr));
        if (!certificate) {
            if (first) fail("TLS certificate: it cannot be read as PEM");
            // What ends every chain: no further one begins.
            if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
                fail("TLS certificate: its chain cannot be read as PEM");
            }
            ERR_clear_error();
            return;
        }
        const bool taken = first ? SSL_CTX_use_certificate(context, certificate.get()) == 1
                                 : SSL_CTX_add1_chain_cert(context, certificate.get()) == 1;
        if (!taken) fail("TLS certificate: it cannot be used");
        first = false;
    }
}

void use_key(SSL_CTX* context, const std::string& text) {
    const Bio bio = open_text(text);
    const Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse_password, nullptr));
    if (!key) fail("TLS key: it cannot be read as PEM of a private key without password");
    if (SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
        fail("TLS key: it cannot be used with the certificate");
    }
    if (SSL_CTX_check_private_key(context) != 1) {
        fail("TLS key: it does not belong to the certificate");
    }
}

// Clients that could speak HTTP/2 as well are told that it is HTTP/1.1.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
    static constexpr unsigned char ours[] = "\x08http/1.1";
    unsigned char* found = nullptr;
    if (SSL_select_next_proto(&found, chosen_size, ours, sizeof ours - 1, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsContext::TlsContext(const std::string& certificate, const std::string& key) {
    if (certificate.empty()) throw std::runtime_error("TLS certificate: there is a key without it");
    if (key.empty()) throw std::runtime_error("TLS key: there is a certificate without it");
    ERR_clear_error();
    context_.reset(SSL_CTX_new(TLS_server_method()));
    if (!context_) fail("TLS: OpenSSL cannot make a context");
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    // A peer that closes without good-bye is at its end: HTTP knows its lengths.
    SSL_CTX_set_options(context_.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                            SSL_OP_IGNORE_UNEXPECTED_EOF);
    // Buffers go between records: 34 kB less for each idle connection.
    SSL_CTX_set_mode(context_.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    // Sessions are resumed with tickets, which the clients keep.
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context_.get(), &choose_protocol, nullptr);
    use_certificates(context_.get(), certificate);
    use_key(context_.get(), key);
}

TlsStream::TlsStream(const TlsContext& context, int socket) : ssl_(SSL_new(context.get())) {
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket) != 1) {
        ERR_clear_error();
        throw std::bad_alloc();
    }
    SSL_set_accept_state(ssl_.get());
}

Moved TlsStream::outcome_of(int result) {
    using enum Moved::Outcome;
    if (result > 0) return {done, static_cast<std::size_t>(result)};
    switch (SSL_get_error(ssl_.get(), result)) {
        case SSL_ERROR_WANT_READ:
            return {wait_readable};
        case SSL_ERROR_WANT_WRITE:
            return {wait_writable};
        case SSL_ERROR_ZERO_RETURN:
            return {end};
        default:
            broken_ = true;  // OpenSSL wants no further call, not even a shutdown
            peer_spoke_http_ = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
            ERR_clear_error();
            return {failed};
    }
}

Moved TlsStream::handshake() {
    ERR_clear_error();
    return outcome_of(SSL_do_handshake(ssl_.get()));
}

Moved TlsStream::read(std::span<char> into) {
    ERR_clear_error();
    return outcome_of(SSL_read(ssl_.get(), into.data(), static_cast<int>(into.size())));
}

Moved TlsStream::write(std::string_view bytes) {
    ERR_clear_error();
    const auto size = std::min<std::size_t>(bytes.size(), std::numeric_limits<int>::max());
    return outcome_of(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(size)));
}

void TlsStream::shutdown() {
    if (broken_ || SSL_in_init(ssl_.get()) != 0) return;
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    ERR_clear_error();
}

}  // namespace dtm::net
