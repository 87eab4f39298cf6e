// Transactions and topics that come from elsewhere into our tables.
#pragma once

#include "core/types.hpp"
#include "pg/spi.hpp"
#include "wire/dtm_store.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

// Whether the current role may execute the functions dtm_submit() that belong to `import`, the
// function that is being called. Within a pg::Spi scope.
bool may_submit(Oid import);

// The rest runs within a store::AsOwner.

struct ImportedTrans {
    std::string gid;
    core::TransType type = core::TransType::saga;
    core::Status status = core::Status::submitted;
    std::string request;                  // wire::encode_request
    std::optional<std::string> progress;  // wire::encode_progress
    core::Time create_time{};
    std::optional<core::Time> due;
    std::int32_t interval_s = 0;
    std::string rollback_reason;
    std::string result;
    std::vector<wire::DtmRegistration> registered;
};
// Returns for each whether it was inserted: not, where its gid exists already.
std::vector<bool> insert_imported(std::span<const ImportedTrans>, Oid owner);

struct ImportedTopic {
    std::string_view name;
    std::string_view subscribers;  // JSON text
    std::int64_t version = 1;
    std::optional<pg::UnixTime> create_time;
    std::optional<pg::UnixTime> update_time;
};
// False, and nothing changed, when there is a topic of that name.
bool insert_imported(const ImportedTopic&);

}  // namespace dtm::store
