#include "wire/json.hpp"

#include <array>
#include <charconv>
#include <cstring>

// The only place where Boost.JSON is compiled (header-only use, Debian's libboost1.81-dev). Its
// headers are not written for our warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wall"
#include <boost/json/src.hpp>
#pragma GCC diagnostic pop

namespace dtm::wire::json {

namespace bj = boost::json;

namespace {

const bj::value& as_boost(const void* value) { return *static_cast<const bj::value*>(value); }

std::string_view as_std(bj::string_view text) { return {text.data(), text.size()}; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// What the escape of a byte inside a JSON string is: 0 none, 'u' \u00XX, else the letter after '\'.
constexpr std::array<char, 256> make_escapes() {
    std::array<char, 256> escapes{};
    for (std::size_t c = 0; c < 0x20; ++c) escapes[c] = 'u';
    escapes['\b'] = 'b';
    escapes['\f'] = 'f';
    escapes['\n'] = 'n';
    escapes['\r'] = 'r';
    escapes['\t'] = 't';
    escapes['"'] = '"';
    escapes['\\'] = '\\';
    return escapes;
}
constexpr auto escapes = make_escapes();

std::string describe(const bj::error_code& error) {
    if (error == bj::error::extra_data) return "there is text after the end of the JSON value";
    if (error == bj::error::incomplete) return "the JSON text ends too early";
    if (error == bj::error::too_deep) return "the JSON text is nested too deeply";
    return "the text is not valid JSON";
}

}  // namespace

struct Document::Impl {
    // Most requests fit into the first block, so a document costs one allocation.
    std::array<unsigned char, 6000> first_block;
    bj::monotonic_resource memory{first_block.data(), first_block.size()};
    bj::value root = bj::value(bj::storage_ptr(&memory));
};

Document::Document(std::string_view text, int max_depth, Trailing trailing) : impl_(new Impl) {
    bj::parse_options options;
    options.max_depth = static_cast<std::size_t>(max_depth);
    std::array<unsigned char, 2048> scratch;
    bj::parser parser(bj::storage_ptr{}, options, scratch.data(), scratch.size());
    parser.reset(&impl_->memory);
    bj::error_code error;
    const std::size_t read = parser.write_some(text.data(), text.size(), error);
    if (!error && read < text.size() && trailing == Trailing::refuse) {
        error = bj::error::extra_data;
    }
    if (error) throw SyntaxError(describe(error), read);
    impl_->root = parser.release();
}

Document::~Document() = default;

Value Document::root() const { return Value(&impl_->root); }

std::string_view article(Kind kind) {
    switch (kind) {
        case Kind::null:
            return "null";
        case Kind::boolean:
            return "true or false";
        case Kind::integer:
            return "a number";
        case Kind::real:
            return "a number that is not whole or is too large";
        case Kind::string:
            return "a string";
        case Kind::array:
            return "a list";
        case Kind::object:
            return "an object";
    }
    return "";
}

Kind Value::kind() const {
    if (value_ == nullptr) return Kind::null;
    switch (as_boost(value_).kind()) {
        case bj::kind::null:
            return Kind::null;
        case bj::kind::bool_:
            return Kind::boolean;
        case bj::kind::int64:
        case bj::kind::uint64:
            return Kind::integer;
        case bj::kind::double_:
            return Kind::real;
        case bj::kind::string:
            return Kind::string;
        case bj::kind::array:
            return Kind::array;
        case bj::kind::object:
            return Kind::object;
    }
    return Kind::null;
}

bool Value::boolean() const { return as_boost(value_).as_bool(); }

std::string_view Value::string() const {
    const bj::string& text = as_boost(value_).as_string();
    return {text.data(), text.size()};
}

std::optional<std::int64_t> Value::integer() const {
    // A uint64 in Boost.JSON is by construction one that int64 cannot hold.
    if (const auto* number = as_boost(value_).if_int64()) return *number;
    return std::nullopt;
}

double Value::real() const { return as_boost(value_).as_double(); }

std::size_t Value::size() const {
    if (value_ == nullptr) return 0;
    if (const auto* array = as_boost(value_).if_array()) return array->size();
    if (const auto* object = as_boost(value_).if_object()) return object->size();
    return 0;
}

Value Value::at(std::size_t index) const { return Value(&as_boost(value_).as_array()[index]); }

std::pair<std::string_view, Value> Value::member(std::size_t i) const {
    const bj::key_value_pair& pair = as_boost(value_).as_object().begin()[i];
    return {as_std(pair.key()), Value(&pair.value())};
}

Value Value::find(std::string_view name) const {
    if (value_ == nullptr) return {};
    const bj::object* object = as_boost(value_).if_object();
    if (object == nullptr) return {};
    if (const auto* exact = object->if_contains({name.data(), name.size()})) return Value(exact);
    const void* found = nullptr;
    for (const bj::key_value_pair& pair : *object) {
        if (equal_ignoring_case(as_std(pair.key()), name)) found = &pair.value();
    }
    return Value(found);
}

void append_string(std::string& out, std::string_view text) {
    out += '"';
    std::size_t from = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char escape = escapes[static_cast<unsigned char>(text[i])];
        if (escape == 0) continue;
        out.append(text, from, i - from);
        from = i + 1;
        out += '\\';
        out += escape;
        if (escape == 'u') {
            constexpr std::string_view digits = "0123456789abcdef";
            const auto byte = static_cast<unsigned char>(text[i]);
            out += "00";
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
    out.append(text, from);
    out += '"';
}

void append_integer(std::string& out, std::int64_t number) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    out.append(digits.data(), end);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

}  // namespace dtm::wire::json
