// JSON as this room needs it: a parsed document that is looked at, and text that is appended to a
// string. The library behind it (Boost.JSON) is seen by json.cpp alone. It survives hostile text:
// depth is bounded, invalid UTF-8 is an error, and errors say where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace dtm::wire::json {

// The text is no JSON. `offset` is the byte at which reading stopped.
class SyntaxError : public std::runtime_error {
public:
    SyntaxError(const std::string& what, std::size_t at) : std::runtime_error(what), offset(at) {}
    std::size_t offset;
};

// `real` is every number with a fraction or an exponent, or too large for 64 bits.
enum class Kind : std::uint8_t { null, boolean, integer, real, string, array, object };

// "a string", "an object", ...: for messages.
std::string_view article(Kind);

// A look at one value of a Document; as cheap as a pointer and valid as long as the Document. A
// default-made Value is null, so an absent member and a null one are the same thing.
class Value {
public:
    Value() = default;
    explicit Value(const void* value) : value_(value) {}

    Kind kind() const;
    bool is_null() const { return kind() == Kind::null; }

    // Each of these may be called on a value of its kind only.
    bool boolean() const;
    std::string_view string() const;
    // nullopt: an integer beyond the range of int64.
    std::optional<std::int64_t> integer() const;
    double real() const;  // nearly: the last bit may be another one

    // Number of elements or members; 0 for everything that is neither array nor object.
    std::size_t size() const;
    Value at(std::size_t index) const;                               // of an array
    std::pair<std::string_view, Value> member(std::size_t i) const;  // of an object, in order
    // The member with this name; failing that, the last one that differs in ASCII case only.
    Value find(std::string_view name) const;

private:
    const void* value_ = nullptr;
};

// What follows the end of the value.
enum class Trailing : std::uint8_t { refuse, ignore };

class Document {
public:
    // Throws SyntaxError. The document keeps nothing of `text`.
    Document(std::string_view text, int max_depth, Trailing trailing = Trailing::refuse);
    ~Document();
    Document(const Document&) = delete;
    Document& operator=(const Document&) = delete;
    Value root() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// Appends `text` as a JSON string with its quotes. `text` is valid UTF-8; bytes are not checked
// again.
void append_string(std::string& out, std::string_view text);
void append_integer(std::string& out, std::int64_t number);

bool equal_ignoring_case(std::string_view a, std::string_view b);  // ASCII only

}  // namespace dtm::wire::json
