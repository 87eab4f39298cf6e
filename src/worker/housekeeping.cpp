// See housekeeping.hpp.
#include "worker/housekeeping.hpp"

#include "hub/settings.hpp"
#include "pg/transaction.hpp"
#include "store/barrier.hpp"
#include "store/barrier_install.hpp"

extern "C" {
#include "commands/dbcommands.h"
}

namespace dtm::worker {
namespace {

constexpr int batch_size = 1000;
constexpr std::chrono::milliseconds between_batches{100};
constexpr core::Seconds between_looks{60};
// A walk begins where the last one ended. Now and then it begins at the first row, for those that
// were kept because their transaction was unfinished, or that a long transaction committed late.
constexpr core::Seconds walk_anew{3600};

bool is_ours() {
    const pg::Spi spi;
    return store::barrier_table_is_known();
}

}  // namespace

void Housekeeping::complain(const char* why, const char* hint) {
    if (complained_) return;
    complained_ = true;
    pg::log(WARNING,
            "dtm_pg does not remove old rows of dtm_barrier.barrier in database " + database_, why,
            hint);
}

// True: there is more to do.
bool Housekeeping::purge(core::Time now) {
    if (!store::barrier_table_exists() || !is_ours()) return false;
    const store::BarrierTable table;
    if (!table.is_plain()) {
        complain("The table has triggers, rules, policies or functions, which would run here.",
                 "Drop them, or call dtm_barrier_purge() from a job of your own.");
        return false;
    }
    if (!walk_started_ || now < *walk_started_ || now - *walk_started_ >= walk_anew) {
        walk_started_ = now;
        last_id_ = 0;
    }
    const core::Time threshold = now - core::Seconds{hub::settings.barrier_retention_s};
    const store::PurgeBatch batch = store::purge_barriers(table, last_id_, threshold, batch_size);
    last_id_ = batch.last_id;
    complained_ = false;
    return batch.more;
}

void Housekeeping::turn(core::Time now) {
    next_ = now + between_looks;
    if (hub::settings.barrier_retention_s == 0) return;
    try {
        pg::Transaction transaction;
        if (database_.empty()) database_ = pg::call([] { return get_database_name(MyDatabaseId); });
        const bool more = purge(now);
        transaction.commit();
        if (more) next_ = now + between_batches;
    } catch (const pg::SqlError& error) {
        complain(error.what(), error.hint.c_str());
    } catch (const std::exception& error) {  // PgError, too; none of them stops the coordinator
        complain(error.what(), "");
    }
}

}  // namespace dtm::worker
