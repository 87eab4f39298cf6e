// Reads SQL's submit in dtm's language (dtm-compat.md 1.4) and makes a core::Request of it, or says
// exactly what is wrong with it. Bytes in, values out: no sockets, no tables. All other requests
// come through api_request.hpp to the same reader, so the same request leaves the same row (P1).
#pragma once

#include "core/types.hpp"

#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::wire {

// A request that is refused before anything is stored (SQLSTATE TD001). `path` is the JSON path of
// the offending field, e.g. "$.steps[1].action".
class BadRequest : public std::runtime_error {
public:
    BadRequest(std::string json_path, std::string message, std::string remedy = {})
        : std::runtime_error(std::move(message)),
          path(std::move(json_path)),
          hint(std::move(remedy)) {}
    std::string path;
    std::string hint;
};

// Limits; breaking one is a BadRequest.
struct Limits {
    std::size_t max_gid_bytes = 128;        // the clients' barrier table has varchar(128)
    std::size_t max_steps = 1000;           // branch ids and progress stay small
    std::size_t max_body_bytes = 1u << 20;  // one row must stay movable
    std::size_t max_headers = 64;
    int max_depth = 32;  // nesting of the JSON text
};

// Resolves a topic to its subscriber URLs; an empty list means that there is none.
using TopicLookup = std::function<std::vector<std::string>(std::string_view topic)>;

// Parses the body of SQL's submit. An absent or empty gid of a saga or msg stays empty: the caller
// makes one. One that has a gid and no member `steps` was prepared: it has no branches here. A tcc
// or xa is submitted by the gid it was prepared with and has no steps; a workflow is refused.
// Leniency as dtm-compat.md 1.1.1: unknown fields ignored, null is absent, keys in any case, last
// duplicate wins. Throws BadRequest.
core::Request parse_submit(std::string_view json, const TopicLookup& topics,
                           const Limits& limits = {});

// gid rule: 1..max_gid_bytes bytes of valid UTF-8 text without control characters, quotes, ';' or
// backslash (D31, D38). Throws BadRequest with path $.gid.
void check_gid(std::string_view gid, const Limits& limits = {});

// A fresh gid: a random UUIDv4 in base 57, 22 characters (dtm-compat.md 1.5.2). `entropy` is 16
// random bytes.
std::string make_gid(std::span<const std::uint8_t, 16> entropy);
// The same as UUIDv7: the milliseconds of `now` first, then chance, so that neighbours in time are
// neighbours in an index. `node`, if any, and - go before it.
std::string make_gid(core::Time now, std::span<const std::uint8_t, 10> chance,
                     std::string_view node);

}  // namespace dtm::wire
