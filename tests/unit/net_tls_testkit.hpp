// What the tests of the listener share about TLS: certificates, and a client.
#pragma once

#include "net_server_testkit.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <csignal>

namespace dtm::net::test {

struct Pair {
    std::string certificate, key;
};

inline std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    return text;
}

// Self-signed, for this name.
inline Pair make_pair_for(const char* name) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME* subject = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_sign(certificate, key, EVP_sha256());
    Pair pair;
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, certificate);
    pair.certificate = text_of(bio);
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    pair.key = text_of(bio);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return pair;
}

// A client that speaks TLS and trusts everybody.
class SecureWire {
public:
    explicit SecureWire(int port, int max_version = 0) : wire_(port) {
        // OpenSSL says good-bye to a socket that the other side may have closed.
        std::signal(SIGPIPE, SIG_IGN);
        context_ = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(context_, max_version);
        // The old versions are switched off in OpenSSL's default level.
        SSL_CTX_set_security_level(context_, 0);
        const unsigned char protocols[] = "\x02h2\x08http/1.1";
        SSL_CTX_set_alpn_protos(context_, protocols, sizeof protocols - 1);
        ssl_ = SSL_new(context_);
        SSL_set_fd(ssl_, wire_.fd());
        timeval patience_of_socket{30, 0};
        ::setsockopt(wire_.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience_of_socket,
                     sizeof patience_of_socket);
        connected_ = SSL_connect(ssl_) == 1;
        ERR_clear_error();
    }
    ~SecureWire() {
        SSL_free(ssl_);
        SSL_CTX_free(context_);
    }
    SecureWire(const SecureWire&) = delete;
    SecureWire& operator=(const SecureWire&) = delete;

    bool connected() const { return connected_; }
    std::string peer() const {
        X509* certificate = SSL_get1_peer_certificate(ssl_);
        if (certificate == nullptr) return "";
        char name[100] = "";
        X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                                  sizeof name);
        X509_free(certificate);
        return name;
    }
    std::string protocol() const {
        const unsigned char* chosen = nullptr;
        unsigned size = 0;
        SSL_get0_alpn_selected(ssl_, &chosen, &size);
        return {reinterpret_cast<const char*>(chosen), size};
    }
    bool send(std::string_view text) {
        return SSL_write(ssl_, text.data(), static_cast<int>(text.size())) ==
               static_cast<int>(text.size());
    }
    // So many bytes, or what came before the end.
    std::string read(std::size_t size) {
        std::string text;
        char buffer[65536];
        while (text.size() < size) {
            const int count = SSL_read(ssl_, buffer, sizeof buffer);
            if (count <= 0) break;
            text.append(buffer, static_cast<std::size_t>(count));
        }
        return text;
    }
    // The body of the next answer; its size is known to whoever asks.
    std::string ask(std::string_view text, std::size_t body_size) {
        return send(text) ? read_body(body_size) : "";
    }
    std::string read_body(std::size_t body_size) {
        std::string input;
        std::size_t head = 0;
        while ((head = input.find("\r\n\r\n")) == std::string::npos) {
            const std::string more = read(1);
            if (more.empty()) return "";
            input += more;
        }
        input.erase(0, head + 4);
        if (input.size() < body_size) input += read(body_size - input.size());
        return input;
    }
    // The other side said good-bye.
    bool closes() {
        char c = 0;
        return SSL_read(ssl_, &c, 1) <= 0 && (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
    }

private:
    Wire wire_;
    SSL_CTX* context_;
    SSL* ssl_;
    bool connected_ = false;
};

}  // namespace dtm::net::test
