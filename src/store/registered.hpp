// The rows of dtm.trans_branch: what clients register one by one for a transaction that is prepared
// (tcc, xa, workflow). A row never changes; it is removed with its transaction. Functions run
// within a pg::Spi scope; where the SQL is that of a version without the table, there are none.
#pragma once

#include "pg/spi.hpp"
#include "wire/api_request.hpp"
#include "wire/dtm_store.hpp"

#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dtm::store {

bool can_register();  // the table is there

// In the order of registration, but for the type: that is the transaction's. Those without a branch
// are left out. read_only: as the active snapshot shows it.
using RegisteredByGid = std::unordered_map<std::string, std::vector<wire::Registration>>;
RegisteredByGid registered(std::span<const std::string_view> gids, bool read_only = false);
// How many bytes that would be.
std::unordered_map<std::string, std::size_t> registered_bytes(
    std::span<const std::string_view> gids);

// Of one transaction. Nothing is looked for where the type has none.
std::vector<wire::Registration> registrations(std::string_view gid, core::TransType type,
                                              bool read_only = false);

// A transaction must stay movable: it is loaded as a whole.
inline constexpr std::size_t most_registered = 1000;
inline constexpr std::size_t most_registered_bytes = std::size_t{8} << 20;

// Inserts those whose transaction is `prepared`, of the type named and `role`'s; returns which.
// Waits for whoever changes such a transaction; until the end of this one nobody else does. One
// registration for each gid.
std::vector<bool> insert_registered(std::span<const wire::Registration* const>, Oid role,
                                    core::Time now);
// What was registered elsewhere, at its own times.
void insert_registered(std::span<const wire::DtmRegistration* const>);

void delete_registered(std::span<const std::string_view> gids);

}  // namespace dtm::store
