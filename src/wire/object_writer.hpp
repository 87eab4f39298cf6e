// Writes the members of one JSON object in the order of the calls and puts the commas between them.
// What is empty, zero or false is left out.
#pragma once

#include "wire/json.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace dtm::wire {

class ObjectWriter {
public:
    explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
    void end() { out_ += '}'; }

    // For values of other kinds: the caller appends one to what is returned.
    std::string& key(std::string_view name) {
        if (!first_) out_ += ',';
        first_ = false;
        out_ += '"';
        out_ += name;
        out_ += "\":";
        return out_;
    }
    void text(std::string_view name, std::string_view value) {
        if (!value.empty()) json::append_string(key(name), value);
    }
    void number(std::string_view name, std::int64_t value) {
        if (value != 0) json::append_integer(key(name), value);
    }
    void flag(std::string_view name, bool value) {
        if (value) key(name) += "true";
    }

private:
    std::string& out_;
    bool first_ = true;
};

inline void append_map(std::string& out, const std::map<std::string, std::string>& map) {
    out += '{';
    const char* separator = "";
    for (const auto& [name, value] : map) {
        json::append_string(out += separator, name);
        json::append_string(out += ':', value);
        separator = ",";
    }
    out += '}';
}

}  // namespace dtm::wire
