// See housekeeping.hpp.
#include "worker/housekeeping.hpp"

#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "store/barrier.hpp"
#include "store/barrier_install.hpp"
#include "store/trans.hpp"

extern "C" {
#include "commands/dbcommands.h"
}

#include <algorithm>

namespace dtm::worker {
namespace {

constexpr int batch_size = 1000;
constexpr std::chrono::milliseconds between_batches{50};
// Answers wait for a batch: one of finished transactions takes some milliseconds, and all of them
// a tenth of the time, however busy the machine is.
constexpr int finished_batch = 200;
constexpr std::chrono::milliseconds between_finished{10};
constexpr int times_longer = 9;
constexpr core::Seconds between_looks{60};
constexpr core::Seconds after_trouble{1};
// A walk begins where the last one ended. Now and then it begins at the first row, for those that
// were kept because their transaction was unfinished, or that a long transaction committed late.
constexpr core::Seconds walk_anew{3600};

// What is removed and comes back with a crash is removed again: nobody waits for its flush.
class Unflushed {
public:
    Unflushed() { synchronous_commit = SYNCHRONOUS_COMMIT_OFF; }
    ~Unflushed() { synchronous_commit = before_; }
    Unflushed(const Unflushed&) = delete;
    Unflushed& operator=(const Unflushed&) = delete;

private:
    const int before_ = synchronous_commit;
};

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

// Like purge(), for dtm.trans and dtm.event. A transaction for each: whoever holds one of them does
// not keep the other.
bool Housekeeping::purge_finished(core::Time now) {
    if (hub::settings.retention_s == 0) return false;
    const core::Time older = now - core::Seconds{hub::settings.retention_s};
    for (const auto remove : {store::purge_finished, store::purge_events}) {
        const Unflushed unflushed;
        pg::Transaction transaction;
        std::int64_t removed = 0;
        {
            const pg::Spi spi;
            removed = remove(older, finished_batch);
        }
        DTM_CRASH_POINT("worker.finished_removed");
        transaction.commit();
        DTM_CRASH_POINT("worker.retention_committed");
        if (removed == finished_batch) return true;
    }
    return false;
}

void Housekeeping::turn(core::Time now) {
    next_ = now + between_looks;
    try {
        if (purge_finished(now)) {
            const core::Time done = pg::now();
            const core::Time soon = done + (done - now) * times_longer;
            next_ = std::max<core::Time>(soon, done + between_finished);
            return;
        }
    } catch (const pg::PgError& error) {
        // A lock, most likely: it is over soon.
        next_ = now + after_trouble;
        pg::log(DEBUG1, "dtm_pg cannot remove finished transactions", error.what());
    }
    if (hub::settings.barrier_retention_s == 0) return;
    try {
        pg::Transaction transaction;
        if (database_.empty()) database_ = pg::call([] { return get_database_name(MyDatabaseId); });
        const bool more = purge(now);
        DTM_CRASH_POINT("worker.barriers_removed");
        transaction.commit();
        DTM_CRASH_POINT("worker.barrier_purge_committed");
        if (more) next_ = now + between_batches;
    } catch (const pg::SqlError& error) {
        complain(error.what(), error.hint.c_str());
    } catch (const std::exception& error) {  // PgError, too; none of them stops the coordinator
        complain(error.what(), "");
    }
}

}  // namespace dtm::worker
