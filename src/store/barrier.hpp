// dtm_barrier.barrier, the table that dtm's clients share with us (dtm-compat.md 6.6). Rows are
// written as the table's owner, so a participant needs no right on it. Nothing here judges.
#pragma once

#include "pg/session.hpp"
#include "pg/spi.hpp"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

struct RelationData;

namespace dtm::store {

struct BarrierKey {
    std::string_view trans_type;  // not a part of the unique key
    std::string_view gid;
    std::string_view branch_id;
    std::string_view barrier_id;
};

// The table, locked for writing while this lives (the lock itself stays until the end of the
// transaction).
class BarrierTable {
public:
    enum class Use : std::uint8_t { read, write };
    explicit BarrierTable(Use use = Use::write);  // SqlError 55000: it does not exist
    ~BarrierTable();
    BarrierTable(const BarrierTable&) = delete;
    BarrierTable& operator=(const BarrierTable&) = delete;

    Oid owner() const;
    // Characters that a column takes; none: any number.
    std::optional<int> width(std::string_view column) const;
    // Nothing of its owner's runs when somebody else writes or deletes its rows: no trigger, rule,
    // policy, constraint, default or index with a function that does not come with PostgreSQL.
    bool is_plain() const;

private:
    RelationData* relation_;
    int exceptions_;
};

// Acts as the table's owner with SPI connected; confined, unless the table is plain.
class AsBarrierOwner {
public:
    explicit AsBarrierOwner(const BarrierTable&);

private:
    std::optional<pg::AsRole> role_;
    std::optional<pg::Confined> confined_;
    pg::Spi spi_;
};

// The following run within an AsBarrierOwner.

// False when the key is taken; waits for a transaction that is inserting it. 40001 when it was
// taken by a transaction that this one's snapshot does not see.
bool insert_barrier(const BarrierKey&, std::string_view op, std::string_view reason);
// The reason of the row of that key; none: it has vanished.
std::optional<std::string> barrier_reason(const BarrierKey&, std::string_view op);

// Housekeeping, one batch; opens its own scopes. Rows of unfinished transactions of this database
// stay, whatever their age (P12); rows that never had a time count as old as the adoption of the
// table.
struct PurgeBatch {
    std::int64_t last_id = 0;  // go on after it
    std::int64_t removed = 0;
    bool more = false;  // the rest may hold old rows
};
PurgeBatch purge_barriers(const BarrierTable&, std::int64_t after_id, pg::UnixTime older_than,
                          int limit);
bool barrier_table_exists();

}  // namespace dtm::store
