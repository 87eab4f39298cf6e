// The tables of dtm's own PostgreSQL store (dtm-compat.md 6.1-6.3): trans_global, trans_branch_op
// and kv in one schema. They are read and emptied with the rights of the caller: who could not do
// it by hand cannot do it here. Nothing here judges what the rows say.
#pragma once

#include "pg/spi.hpp"
#include "wire/dtm_store.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace dtm::store {

struct DtmRow {
    wire::DtmTrans trans;
    std::string rollback_reason;
    std::string result;
    std::vector<wire::DtmBranch> branches;
};

struct DtmTopic {
    std::string name;
    std::string subscribers;  // JSON text
    std::int64_t version = 1;
    std::optional<pg::UnixTime> create_time;
    std::optional<pg::UnixTime> update_time;
};

// The functions open their own SPI scopes and expect a pg::SafeSearchPath around them.
class DtmTables {
public:
    // Locks the tables against everybody else who writes, until the end of the transaction.
    // SqlError 3F000, 42P01, 42703, 42804: they are not there, or not dtm's; 42809: a table can run
    // code of its owner's; 55P03: somebody else holds them. PgError 42501: no right to do this.
    explicit DtmTables(const std::string& schema);

    // Of the unfinished transactions, in the order of their ids.
    std::vector<std::string> unfinished() const;
    // Their rows; a gid that has two rows is there twice.
    std::vector<DtmRow> read(std::span<const std::string> gids) const;
    void remove(std::span<const std::string> gids) const;

    std::vector<DtmTopic> topics() const;
    void remove_topic(const std::string& name) const;

private:
    std::string trans_;  // quoted, qualified
    std::string branches_;
    std::string kv_;
};

}  // namespace dtm::store
