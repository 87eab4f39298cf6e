// Target: the bytes that reach the listener.
#include "targets.hpp"

#include "net/request_parser.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace dtm::fuzz {

namespace {

using net::RequestParser;
using Step = RequestParser::Step;

struct Limits {
    std::size_t header, body;
};

struct Request {
    std::string method, target, authorization, host, origin, fetch_site, body;
    bool keep_alive = false, http_1_0 = false, expects_continue = false;
    bool header_said = false;
    bool operator==(const Request&) const = default;
};

void note_header(const RequestParser& parser, Request& request) {
    must(!request.header_said, "the header is said once");
    request.header_said = true;
    request.keep_alive = parser.keep_alive();
    request.http_1_0 = parser.http_1_0();
    request.expects_continue = parser.expects_continue();
    request.authorization = parser.authorization();
    request.host = parser.host();
    request.origin = parser.origin();
    request.fetch_site = parser.fetch_site();
}

void note_end(RequestParser& parser, Request& request, const Limits& limits) {
    must(request.header_said, "the header comes before the end");
    request.method = parser.take_method();
    request.target = parser.take_target();
    request.body = parser.take_body();
    must(request.body.size() <= limits.body, "a body has a limit");
    must(request.method.size() + request.target.size() <= limits.header, "a header has a limit");
    for (const std::string* text : {&request.method, &request.target}) {
        must(!text->empty() && std::ranges::none_of(
                                   *text, [](unsigned char c) { return c <= 0x20 || c == 0x7F; }),
             "a request line is three words", *text);
    }
}

void check_refusal(const RequestParser& parser) {
    const unsigned status = parser.status();
    must(status == 400 || status == 413 || status == 431 || status == 501,
         "a refusal has a status");
    must(!parser.message().empty(), "a refusal has a message");
}

// As a connection does it: what was not used is given again. Returns those that are complete: how
// soon a mistake is seen depends on the pieces.
std::vector<Request> read(std::string_view bytes, std::size_t piece, const Limits& limits) {
    std::vector<Request> requests;
    RequestParser parser;
    std::string waiting;
    bool within = false;
    while (!bytes.empty()) {
        waiting += bytes.substr(0, piece);
        bytes.remove_prefix(std::min(piece, bytes.size()));
        for (;;) {
            if (!within) {
                waiting.erase(0, std::min(waiting.find_first_not_of("\r\n"), waiting.size()));
                if (waiting.empty()) break;
                parser.begin(limits.header, limits.body);
                requests.emplace_back();
                within = true;
            }
            const auto [step, used] = parser.parse(waiting);
            must(used <= waiting.size(), "no more is used than there is");
            waiting.erase(0, used);
            must(parser.bytes() <= limits.header + limits.body, "what is kept has a limit");
            if (step == Step::more) break;
            if (step == Step::header) {
                note_header(parser, requests.back());
            } else if (step == Step::done) {
                note_end(parser, requests.back(), limits);
                within = false;
            } else {
                check_refusal(parser);
                requests.pop_back();
                return requests;
            }
        }
        must(waiting.size() <= limits.header + piece, "what waits has a limit", waiting);
    }
    if (within) requests.pop_back();
    return requests;
}

}  // namespace

void http(std::string_view input) {
    if (input.empty()) return;
    const auto first = static_cast<unsigned char>(input[0]);
    input.remove_prefix(1);
    const std::size_t piece = 1 + first % 64;
    read(input, piece, {200, 100});
    // Limits that are out of reach, because pieces may pass one that the whole does not.
    constexpr Limits wide{std::size_t{1} << 16, std::size_t{1} << 20};
    must(read(input, piece, wide) == read(input, input.size(), wide),
         "pieces are read like the whole", input);
}

}  // namespace dtm::fuzz
