// See housekeeping.hpp.
#include "worker/housekeeping.hpp"

#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "store/barrier.hpp"
#include "store/barrier_install.hpp"
#include "store/trans.hpp"
#include "worker/settler.hpp"

extern "C" {
#include "commands/dbcommands.h"
}

#include <algorithm>
#include <utility>

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
constexpr core::Seconds after_a_lock{1};
constexpr core::Seconds longest_wait{600};
// Beyond so many that cannot be removed it is no accident of some rows.
constexpr std::size_t most_kept = 1000;
// A walk begins where the last one ended, behind all that was removed and that a held snapshot may
// keep. Now and then it begins at the first row, for those that were locked or kept because their
// transaction was unfinished, or that a long transaction committed late.
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

bool begins_anew(std::optional<core::Time>& started, core::Time now) {
    if (started && now >= *started && now - *started < walk_anew) return false;
    started = now;
    return true;
}

core::Time retention_begins(core::Time now) {
    return now - core::Seconds{hub::settings.retention_s};
}

}  // namespace

core::Time Housekeeping::due(core::Time now) const {
    core::Time earliest = now + longest_wait;
    for (const Chore& chore : chores_) {
        // None waits for longer than that: else the clock was set back.
        earliest = std::min(earliest, chore.next > now + longest_wait ? now : chore.next);
    }
    return earliest;
}

void Housekeeping::look_now() {
    for (Chore& chore : chores_) chore.next = {};
    kept_.clear();
    walk_started_.reset();
    finished_walk_started_.reset();
}

void Housekeeping::complain(Chore& chore, const std::string& why, const std::string& hint) {
    if (chore.complained) return;
    chore.complained = true;
    pg::log(WARNING,
            std::string("dtm_pg does not remove ") + chore.rows + " in database " + database_, why,
            hint);
}

Housekeeping::More Housekeeping::remove_finished(core::Time now) {
    if (hub::settings.retention_s == 0) return More::no;
    if (begins_anew(finished_walk_started_, now)) finished_from_.reset();
    {
        const pg::Spi spi;
        store::Finished found =
            store::finished_before(finished_from_, retention_begins(now), finished_batch, kept_);
        batch_ = std::move(found.gids);
        if (!batch_.empty()) store::remove(batch_);
        // Not where it ends: it may fail.
        if (found.first_end) finished_from_ = found.first_end;
    }
    DTM_CRASH_POINT("worker.finished_removed");
    return batch_.size() == finished_batch ? More::soon : More::no;
}

Housekeeping::More Housekeeping::remove_events(core::Time now) {
    if (hub::settings.retention_s == 0) return More::no;
    const pg::Spi spi;
    return store::purge_events(retention_begins(now), batch_size) == batch_size ? More::at_leisure
                                                                                : More::no;
}

Housekeeping::More Housekeeping::remove_barriers(core::Time now) {
    if (hub::settings.barrier_retention_s == 0) return More::no;
    if (!store::barrier_table_exists() || !is_ours()) return More::no;
    const store::BarrierTable table;
    if (!table.is_plain()) {
        throw pg::SqlError("55000",
                           "The table has triggers, rules, policies or functions, which would run "
                           "here.",
                           {}, "Drop them, or call dtm_barrier_purge() from a job of your own.");
    }
    if (begins_anew(walk_started_, now)) last_id_ = 0;
    const core::Time threshold = now - core::Seconds{hub::settings.barrier_retention_s};
    const store::PurgeBatch batch = store::purge_barriers(table, last_id_, threshold, batch_size);
    last_id_ = batch.last_id;
    DTM_CRASH_POINT("worker.barriers_removed");
    return batch.more ? More::at_leisure : More::no;
}

// A batch failed because of one of its rows, or of all: what can go, goes (as in Settler).
void Housekeeping::remove_one_by_one(Chore& chore) {
    std::vector<std::string> gids;
    gids.swap(batch_);
    std::string why;
    for (const std::string& gid : gids) {
        try {
            pg::in_transaction([&gid] {
                const std::string one[] = {gid};
                store::remove(one);
            });
        } catch (const pg::PgError& error) {
            if (!Settler::is_about_rows(error)) throw;
            if (kept_.size() == most_kept) throw;
            kept_.push_back(gid);
            why = "Transaction " + gid + ": " + error.what();
        }
    }
    if (why.empty()) return;
    complain(
        chore, why,
        "What it says stands in the way of removing it, and maybe of others; it is tried again "
        "after the next reload of the settings.");
}

void Housekeeping::work(Chore& chore, core::Time now) {
    chore.next = now + between_looks;
    try {
        if (database_.empty()) {
            pg::Transaction transaction;
            database_ = pg::call([] { return get_database_name(MyDatabaseId); });
            transaction.commit();
        }
        batch_.clear();
        const Unflushed unflushed;
        More more = More::no;
        try {
            pg::Transaction transaction;
            more = (this->*chore.batch)(now);
            transaction.commit();
            chore.complained = false;
        } catch (const pg::PgError& error) {
            if (batch_.empty() || !Settler::is_about_rows(error)) throw;
            remove_one_by_one(chore);
            more = More::soon;
        }
        DTM_CRASH_POINT("worker.removal_committed");
        if (more == More::at_leisure) chore.next = now + between_batches;
        if (more == More::soon) {
            const core::Time done = pg::now();
            const core::Time soon = done + (done - now) * times_longer;
            chore.next = std::max<core::Time>(soon, done + between_finished);
        }
    } catch (const pg::SqlError& error) {
        complain(chore, error.what(), error.hint);
    } catch (const pg::PgError& error) {
        // A lock is over soon, and nobody's fault; on a table of somebody else it is worth a word.
        if (Settler::blame_of(error) == Settler::Blame::lock && chore.ours) {
            chore.next = now + after_a_lock;
        } else {
            complain(chore, error.what(), "");
        }
    } catch (const std::exception& error) {  // none of them stops the coordinator
        complain(chore, error.what(), "");
    }
}

void Housekeeping::turn(core::Time now) {
    for (Chore& chore : chores_) {
        if (chore.next <= now || chore.next > now + longest_wait) work(chore, now);
    }
}

}  // namespace dtm::worker
