// The set-based writes behind commands.hpp: one statement for all that is new, one for all that
// changes its status. Each row says what it expects to find; what is not found so is not written,
// and the caller is told. Within a pg::Spi scope.
#pragma once

#include "core/types.hpp"
#include "pg/spi.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

struct Creation {
    std::size_t command = 0;  // the caller's business
    std::string_view gid;
    core::TransType type = core::TransType::saga;
    core::Status status = core::Status::submitted;
    std::string_view request;
    std::optional<std::string> progress;
    std::optional<core::Time> due;
    std::int32_t interval_s = 0;
};
enum class Creating : std::uint8_t { created, exists, busy };
// `careful`: whoever is inserting the same gid is waited for no longer than lock_timeout; that is
// `busy`.
std::vector<Creating> create(std::span<const Creation>, Oid owner, core::Time now, bool careful);

struct Change {
    std::size_t command = 0;  // the caller's business
    std::string_view gid;
    core::TransType type = core::TransType::saga;
    core::Status from = core::Status::prepared;
    core::Status to = core::Status::submitted;
    std::optional<std::string_view> expected;  // the stored request must be this text
    std::optional<std::string_view> request;   // its new text; none: it stays
    std::optional<std::string_view> reason;    // none: the stored one stays
    std::optional<std::string_view> result;    // the same
    std::optional<core::Time> due;             // unless the row is put aside
};
struct Changed {
    bool done = false;
    std::int64_t version = 0;
    core::Time create_time{};
    bool silent = false;
    bool aside = false;
    std::string rollback_reason;
    std::string request;  // of one that is aborting now
};
// Rows of `role` only.
std::vector<Changed> change(std::span<const Change>, Oid role, core::Time now);

}  // namespace dtm::store
