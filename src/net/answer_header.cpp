#include "net/answer_header.hpp"

#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace dtm::net {

namespace {

std::string_view reason(unsigned status) {
    namespace http = boost::beast::http;
    if (status == 425) return "Too Early";  // younger than Beast's list
    const http::status known = http::int_to_status(status);
    if (known == http::status::unknown) return "";
    const auto text = http::obsolete_reason(known);
    return {text.data(), text.size()};
}

void append_number(std::string& text, std::size_t number) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    text.append(digits.data(), end);
}

void append_two_digits(std::string& text, std::int64_t number) {
    text += static_cast<char>('0' + number / 10);
    text += static_cast<char>('0' + number % 10);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

// A line end in it would begin another header.
bool is_one_line(std::string_view text) { return std::ranges::none_of(text, is_control); }

}  // namespace

const std::string& HttpDate::now() {
    using namespace std::chrono;
    const auto second = floor<seconds>(system_clock::now());
    if (second == made_for_) return text_;
    static constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const auto midnight = floor<std::chrono::days>(second);
    const year_month_day day(midnight);
    const hh_mm_ss time(second - midnight);
    text_ = days[weekday(midnight).c_encoding()];
    text_ += ", ";
    append_two_digits(text_, static_cast<unsigned>(day.day()));
    text_ += ' ';
    text_ += months[static_cast<unsigned>(day.month()) - 1];
    text_ += ' ';
    append_number(text_, static_cast<std::size_t>(static_cast<int>(day.year())));
    text_ += ' ';
    append_two_digits(text_, time.hours().count());
    text_ += ':';
    append_two_digits(text_, time.minutes().count());
    text_ += ':';
    append_two_digits(text_, time.seconds().count());
    text_ += " GMT";
    made_for_ = second;
    return text_;
}

void append(std::string& text, const AnswerHeader& header, HttpDate& date) {
    text += "HTTP/1.1 ";
    append_number(text, header.status);
    text += ' ';
    text += reason(header.status);
    text += "\r\nServer: dtm_pg\r\nDate: ";
    text += date.now();
    if (is_one_line(header.content_type)) {
        text += "\r\nContent-Type: ";
        text += header.content_type;
    }
    text += "\r\nContent-Length: ";
    append_number(text, header.content_length);
    if (!header.location.empty() && is_one_line(header.location)) {
        text += "\r\nLocation: ";
        text += header.location;
    }
    if (header.ask_for_token) text += "\r\nWWW-Authenticate: Bearer";
    if (!header.keep_alive) {
        text += "\r\nConnection: close";
    } else if (header.http_1_0) {
        text += "\r\nConnection: keep-alive";
    }
    text += "\r\n\r\n";
}

std::string message_json(std::string_view message) {
    std::string text = R"({"message":")";
    for (const char c : message) {
        if (c == '"' || c == '\\') text += '\\';
        text += is_control(c) ? ' ' : c;
    }
    text += "\"}";
    return text;
}

}  // namespace dtm::net
