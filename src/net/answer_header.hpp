// The header of an answer as text. Knows no sockets.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace dtm::net {

// "Sun, 06 Nov 1994 08:49:37 GMT", made once a second. Not strftime(): its names of days depend on
// the locale, which another thread may be changing.
class HttpDate {
public:
    const std::string& now();

private:
    std::chrono::sys_seconds made_for_{};
    std::string text_;
};

struct AnswerHeader {
    unsigned status = 200;
    std::string_view content_type = "application/json; charset=utf-8";
    std::size_t content_length = 0;
    std::string_view location;  // left out when it is empty, or not one line
    bool ask_for_token = false;
    bool keep_alive = true;
    bool http_1_0 = false;  // of the request: keep-alive has to be said
};

void append(std::string& text, const AnswerHeader& header, HttpDate& date);

// {"message":"..."}
std::string message_json(std::string_view message);

}  // namespace dtm::net
