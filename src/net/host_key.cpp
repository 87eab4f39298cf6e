// See host_key.hpp.
#include "net/host_key.hpp"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

namespace dtm::net {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_name_char(char c) {
    return (lower(c) >= 'a' && lower(c) <= 'z') || is_digit(c) || c == '-' || c == '.' || c == '_';
}

bool is_dotted_quad(std::string_view host) {
    std::array<char, INET_ADDRSTRLEN> text{};
    in_addr address{};
    if (host.size() >= text.size()) return false;
    std::ranges::copy(host, text.begin());
    return inet_pton(AF_INET, text.data(), &address) == 1;
}

// There is no other way to write it, but in capitals. What begins with a digit may be a number.
bool is_plain_host(std::string_view host) {
    if (host.empty() || host.back() == '.' || !std::ranges::all_of(host, is_name_char))
        return false;
    return !is_digit(host.front()) || is_dotted_quad(host);
}

bool is_plain_port(std::string_view port) {
    return !port.empty() && port.front() != '0' && std::ranges::all_of(port, is_digit);
}

std::string joined(std::string_view scheme, std::string_view host, std::string_view port) {
    std::string key;
    key.reserve(scheme.size() + host.size() + port.size() + 4);
    for (const char c : scheme) key += lower(c);
    key += "://";
    for (const char c : host) key += lower(c);
    return key.append(":").append(port);
}

std::string_view usual_port(std::string_view scheme) { return scheme.size() == 5 ? "443" : "80"; }

// 127.1, 0x7f000001, [0::1], [::ffff:127.0.0.1]: whoever resolves names takes them, too.
std::string usual_form(std::string host) {
    if (host.ends_with('.')) host.pop_back();
    std::array<char, INET6_ADDRSTRLEN> text{};
    in_addr short_address{};
    if (host.starts_with('[')) {
        in6_addr address{};
        const std::string inner = host.substr(1, host.size() - 2);
        if (inet_pton(AF_INET6, inner.c_str(), &address) != 1) return host;
        if (!IN6_IS_ADDR_V4MAPPED(&address)) {
            inet_ntop(AF_INET6, &address, text.data(), text.size());
            return std::string("[").append(text.data()) + "]";
        }
        std::memcpy(&short_address, &address.s6_addr[12], sizeof short_address);
    } else if (host.empty() || !is_digit(host.front()) ||
               inet_aton(host.c_str(), &short_address) == 0) {
        return host;
    }
    inet_ntop(AF_INET, &short_address, text.data(), text.size());
    return text.data();
}

struct UrlDeleter {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

std::optional<std::string> part(CURLU* url, CURLUPart what, unsigned flags) {
    char* text = nullptr;
    const CURLUcode result = curl_url_get(url, what, &text, flags);
    if (result == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (result != CURLUE_OK) return std::nullopt;
    const std::unique_ptr<char, decltype(&curl_free)> keep(text, &curl_free);
    return std::string(text);
}

// nullopt: libcurl calls nobody at such a URL.
std::optional<std::string> as_libcurl_reads(std::string_view scheme, std::string_view url) {
    const std::unique_ptr<CURLU, UrlDeleter> parts(curl_url());
    if (!parts) throw std::bad_alloc();
    const std::string text(url);
    const CURLUcode result =
        curl_url_set(parts.get(), CURLUPART_URL, text.c_str(), CURLU_PATH_AS_IS);
    if (result == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (result != CURLUE_OK) return std::nullopt;
    std::optional<std::string> host;
#ifdef CURLU_PUNYCODE
    host = part(parts.get(), CURLUPART_HOST, CURLU_PUNYCODE);
#endif
    if (!host) host = part(parts.get(), CURLUPART_HOST, 0);
    if (!host) return std::nullopt;
    std::string name = usual_form(std::move(*host));
    if (const auto zone = part(parts.get(), CURLUPART_ZONEID, 0)) name.append("%").append(*zone);
    return joined(scheme, name,
                  part(parts.get(), CURLUPART_PORT, 0).value_or(std::string(usual_port(scheme))));
}

}  // namespace

std::string host_key(std::string_view url) {
    const std::size_t scheme_end = url.find("://");
    if (scheme_end == url.npos) return {};
    const std::string_view scheme = url.substr(0, scheme_end);
    std::string_view authority = url.substr(scheme_end + 3);
    authority = authority.substr(0, authority.find_first_of("/?#"));
    const std::size_t colon = authority.find(':');
    const std::string_view host = authority.substr(0, colon);
    const std::string_view port =
        colon == authority.npos ? usual_port(scheme) : authority.substr(colon + 1);
    if (is_plain_host(host) && is_plain_port(port)) return joined(scheme, host, port);
    if (auto key = as_libcurl_reads(scheme, url.substr(0, scheme_end + 3 + authority.size())))
        return std::move(*key);
    // Nobody is called there; whose password it would have been is nobody's business.
    return joined(scheme, authority.substr(authority.rfind('@') + 1), "");
}

}  // namespace dtm::net
