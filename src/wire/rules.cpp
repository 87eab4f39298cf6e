#include "wire/rules.hpp"

#include "wire/text.hpp"

#include <algorithm>
#include <array>

namespace dtm::wire {

namespace {

// Length of "http://" or "https://" at the beginning of `url`, in any case; 0 when it has another
// scheme.
std::size_t http_scheme_length(std::string_view url) {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (json::equal_ignoring_case(url.substr(0, scheme.size()), scheme)) return scheme.size();
    }
    return 0;
}

bool is_port(std::string_view text) {
    unsigned number = 0;
    for (const char c : text) {
        if (c < '0' || c > '9' || number > 65535) return false;
        number = number * 10 + static_cast<unsigned>(c - '0');
    }
    return number >= 1 && number <= 65535;
}

// The part between "http://" and the path: [user:password@]host[:port].
void check_authority(const Path& path, std::string_view url, std::string_view authority) {
    // Some programs read a backslash as a slash, so that the host would be another one for them.
    if (authority.find('\\') != std::string_view::npos) {
        path.fail("the URL " + quoted(url) + " has a backslash in its host");
    }
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
        authority.remove_prefix(at + 1);
    }
    std::size_t host_end = authority.find(':');
    if (authority.starts_with('[')) {  // IPv6
        const std::size_t bracket = authority.find(']');
        if (bracket == std::string_view::npos) {
            path.fail("the URL " + quoted(url) +
                      " has an IPv6 address without its closing bracket");
        }
        if (bracket == 1) path.fail("the URL " + quoted(url) + " has no host");
        host_end = bracket + 1;
        if (host_end < authority.size() && authority[host_end] != ':') {
            path.fail("the URL " + quoted(url) + " has text between its IPv6 address and its port");
        }
    }
    if (authority.empty() || host_end == 0) path.fail("the URL " + quoted(url) + " has no host");
    // "http://host:/" is legal and means the scheme's port.
    if (host_end < authority.size() && host_end + 1 < authority.size() &&
        !is_port(authority.substr(host_end + 1))) {
        path.fail("the URL " + quoted(url) + " has a port that is not a number from 1 to 65535");
    }
}

bool is_token_char(char c) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
    return c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

// Headers that say where a message ends, to whom it goes or what becomes of the connection. They
// are the coordinator's: a wrong one lets a participant read something else than what was
// submitted.
constexpr std::array<std::string_view, 11> reserved_headers = {"Connection",
                                                               "Content-Length",
                                                               "Expect",
                                                               "Host",
                                                               "HTTP2-Settings",
                                                               "Keep-Alive",
                                                               "TE",
                                                               "Trailer",
                                                               "Upgrade",
                                                               "Transfer-Encoding",
                                                               "Proxy-Connection"};

}  // namespace

std::string quoted(std::string_view text) {
    constexpr std::size_t shown = 80;
    std::string out = "\"" + printable(text, shown);
    if (text.size() > shown) out += "...";
    out += '"';
    return out;
}

void check_url(const Path& path, std::string_view url) {
    if (url.empty()) return;
    if (url.size() > max_url_bytes) {
        path.fail("the URL is " + std::to_string(url.size()) + " bytes long, the limit is " +
                  std::to_string(max_url_bytes));
    }
    for (std::size_t i = 0; i < url.size(); ++i) {
        const auto c = static_cast<unsigned char>(url[i]);
        if (c <= 0x20 || c == 0x7F) {
            path.fail("the URL " + quoted(url) + " has a " +
                          (c == ' ' ? "space" : "control character") + " at byte " +
                          std::to_string(i + 1),
                      "Percent-encode it, for example a space as %20.");
        }
    }
    const std::size_t scheme = http_scheme_length(url);
    if (scheme == 0) {
        if (url.starts_with(topic_scheme)) {
            path.fail("a topic cannot be used here: " + quoted(url),
                      "Only actions of a msg can be topics.");
        }
        path.fail("the URL " + quoted(url) + " does not begin with http:// or https://",
                  "This version calls branches over HTTP only.");
    }
    std::string_view rest = url.substr(scheme);
    check_authority(path, url, rest.substr(0, rest.find_first_of("/?#")));
}

void check_header(const Path& path, std::string_view name, std::string_view value) {
    if (name.empty()) path.fail("a header has an empty name");
    if (name.size() > max_header_name_bytes) {
        path.fail("the header name is longer than " + std::to_string(max_header_name_bytes) +
                  " bytes");
    }
    if (!std::all_of(name.begin(), name.end(), is_token_char)) {
        path.fail("the header name " + quoted(name) + " has a character that HTTP does not allow",
                  "Letters, digits and !#$%&'*+-.^_`|~ are allowed.");
    }
    for (const std::string_view reserved : reserved_headers) {
        if (json::equal_ignoring_case(name, reserved)) {
            path.fail("the header " + quoted(name) + " cannot be set",
                      "It belongs to the connection, not to the request.");
        }
    }
    if (value.size() > max_header_value_bytes) {
        path.fail("the value of header " + quoted(name) + " is longer than " +
                  std::to_string(max_header_value_bytes) + " bytes");
    }
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if ((byte < 0x20 && c != '\t') || byte == 0x7F) {
            path.fail("the value of header " + quoted(name) +
                      " has a line break or another control character");
        }
    }
}

void check_no_cycle(const Path& path, const std::vector<std::vector<std::uint32_t>>& after) {
    // Depth first with an explicit stack: `trail` is the way from the start to the current step.
    enum class Mark : std::uint8_t { fresh, on_trail, done };
    std::vector<Mark> marks(after.size(), Mark::fresh);
    struct Visit {
        std::uint32_t step;
        std::size_t next;  // index into after[step]
    };
    std::vector<Visit> trail;
    for (std::uint32_t start = 0; start < after.size(); ++start) {
        if (marks[start] != Mark::fresh) continue;
        trail.push_back({start, 0});
        marks[start] = Mark::on_trail;
        while (!trail.empty()) {
            Visit& here = trail.back();
            if (here.next == after[here.step].size()) {
                marks[here.step] = Mark::done;
                trail.pop_back();
                continue;
            }
            const std::uint32_t next = after[here.step][here.next++];
            if (marks[next] == Mark::fresh) {
                marks[next] = Mark::on_trail;
                trail.push_back({next, 0});
            } else if (marks[next] == Mark::on_trail) {
                const auto first = std::find_if(trail.begin(), trail.end(),
                                                [next](const Visit& v) { return v.step == next; });
                constexpr std::ptrdiff_t shown = 10;
                std::string cycle;
                for (auto v = first; v != trail.end() && v - first < shown; ++v) {
                    cycle += std::to_string(v->step) + " waits for ";
                }
                if (trail.end() - first > shown) cycle += "... waits for ";
                path.fail("the orders form a cycle: step " + cycle + std::to_string(next),
                          "Steps are numbered from 0.");
            }
        }
    }
}

}  // namespace dtm::wire
