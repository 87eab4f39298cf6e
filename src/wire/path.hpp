// Where in a JSON document we are, as a chain of links on the stack: it costs nothing until
// somebody has to be told that a value is wrong.
#pragma once

#include "wire/json.hpp"
#include "wire/request.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace dtm::wire {

class Path {
public:
    Path() = default;  // "$"
    Path(const Path& up, std::string_view key) : up_(&up), key_(key) {}
    Path(const Path& up, std::size_t index) : up_(&up), index_(index), is_index_(true) {}
    Path(const Path&) = delete;
    Path& operator=(const Path&) = delete;

    // "$.steps[1].action"; keys that are no identifiers are quoted: $.orders["2"].
    std::string text() const {
        std::string out;
        append_to(out);
        return out;
    }

    [[noreturn]] void fail(std::string message, std::string hint = {}) const {
        throw BadRequest(text(), std::move(message), std::move(hint));
    }

    // The place without the leading "$.", for the beginning of messages: "steps[1].action".
    std::string name() const {
        const std::string place = text();
        return place.size() > 2 ? place.substr(2) : "the request";
    }

private:
    void append_to(std::string& out) const {
        if (up_ == nullptr) {
            out += '$';
            return;
        }
        up_->append_to(out);
        if (is_index_) {
            out += '[';
            out += std::to_string(index_);
            out += ']';
        } else if (is_identifier(key_)) {
            out += '.';
            out += key_;
        } else {
            out += '[';
            json::append_string(out, key_);
            out += ']';
        }
    }

    static bool is_identifier(std::string_view key) {
        for (std::size_t i = 0; i < key.size(); ++i) {
            const char c = key[i];
            const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
            if (!letter && (i == 0 || c < '0' || c > '9')) return false;
        }
        return !key.empty();
    }

    const Path* up_ = nullptr;
    std::string_view key_;
    std::size_t index_ = 0;
    bool is_index_ = false;
};

}  // namespace dtm::wire
