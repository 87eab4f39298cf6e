// Reads one HTTP request from pieces of any size. Boost.Beast does the reading and is seen by
// request_parser.cpp alone. It survives hostile bytes: header and body have limits, also when they
// come in the smallest pieces, and what cannot be read ends the request, never the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace dtm::net {

class RequestParser {
public:
    enum class Step : std::uint8_t {
        more,    // give the bytes that were not used again, with more behind them
        header,  // the header is complete; said once
        done,
        failed  // status() and message() say why
    };
    struct Progress {
        Step step;
        std::size_t used;
    };

    RequestParser();
    ~RequestParser();
    RequestParser(RequestParser&&) noexcept;
    RequestParser& operator=(RequestParser&&) noexcept;

    // The next request, from its first byte on.
    void begin(std::size_t max_header, std::size_t max_body);
    Progress parse(std::string_view bytes);
    // The memory that the request takes so far.
    std::size_t bytes() const;
    // Keeps nothing of it.
    void clear();

    // Once the header is complete.
    bool keep_alive() const;
    bool http_1_0() const;
    bool expects_continue() const;
    std::string_view target() const;
    std::string_view authorization() const;
    std::string_view host() const;
    std::string_view origin() const;
    std::string_view fetch_site() const;
    // By its User-Agent.
    bool from_browser() const;
    // Has the fields of the header above, but for the target, forgotten.
    void forget_fields();
    // Keeps nothing of the body, which has to be read all the same.
    void ignore_body();

    // Once it is done, each at most once.
    std::string take_method();
    std::string take_target();
    std::string take_body();

    // Once it has failed: the HTTP status, and the reason in words.
    unsigned status() const;
    const std::string& message() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace dtm::net
