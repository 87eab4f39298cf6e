// See settler.hpp.
#include "worker/settler.hpp"

#include "crash_point.hpp"
#include "hub/shared.hpp"
#include "pg/transaction.hpp"
#include "worker/settlement.hpp"

#include <algorithm>

namespace dtm::worker {
namespace {

// One statement per batch stays short enough to answer interrupts in time.
constexpr std::size_t max_batch = 2000;
// Of texts, which exist several times until the statement is over.
constexpr std::size_t max_batch_bytes = std::size_t{8} << 20;

// How long a row rests that could be neither written nor marked.
constexpr core::Seconds rest_time{60};
// If the disk was the trouble, and may work again, it begins with this.
constexpr core::Seconds first_rest_time{1};
// So many rows, and none that could be written: no more are tried in this turn.
constexpr std::size_t disk_is_gone = 10;

}  // namespace

Settler::Blame Settler::blame_of(const pg::PgError& error) {
    switch (error.sqlstate()) {
        case ERRCODE_LOCK_NOT_AVAILABLE:
        case ERRCODE_T_R_DEADLOCK_DETECTED:
            return Blame::lock;
        case ERRCODE_UNDEFINED_TABLE:
        case ERRCODE_UNDEFINED_COLUMN:
        case ERRCODE_INVALID_SCHEMA_NAME:
        case ERRCODE_READ_ONLY_SQL_TRANSACTION:
            return Blame::everything;
        default:
            break;
    }
    switch (ERRCODE_TO_CATEGORY(error.sqlstate())) {
        case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):
        case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):
            return Blame::everything;
        case ERRCODE_TO_CATEGORY(ERRCODE_IO_ERROR):
            return Blame::disk;
        default:
            return Blame::row;
    }
}

void Settler::write(core::Time now) {
    batch_ = actives_.dirty();
    std::stable_partition(batch_.begin(), batch_.end(),
                          [](const Active* a) { return !a->deferred; });
    dirty_ = batch_.size();
    result_ = {};
    truncated_ = false;
    if (batch_.empty()) return;
    std::vector<store::Settlement> rows;
    rows.reserve(std::min(batch_.size(), max_batch));
    std::size_t bytes = 0;
    for (Active* a : batch_) {
        if (rows.size() == max_batch || bytes >= max_batch_bytes) break;
        rows.push_back(settlement_of(*a));
        if (rows.back().progress) bytes += rows.back().progress->size();
    }
    truncated_ = rows.size() < batch_.size();
    // Behind the others once: new ones never end.
    for (std::size_t i = rows.size(); i < batch_.size(); ++i) batch_[i]->deferred = false;
    batch_.resize(rows.size());
    DTM_CRASH_POINT("worker.settling");
    result_ = store::settle(rows, now, careful_);
    DTM_CRASH_POINT("worker.settle_written");
    careful_ = !result_.locked.empty();
}

void Settler::committed(core::Time now) {
    if (batch_.empty()) return;
    DTM_CRASH_POINT("worker.settle_committed");
    std::vector<bool> written(batch_.size(), true);
    for (std::size_t i : result_.locked) written[i] = false;  // stays dirty; tried again next time
    for (std::size_t i : result_.conflicts) written[i] = false;
    std::vector<Active*> conflicts;
    for (std::size_t i : result_.conflicts) conflicts.push_back(batch_[i]);
    for (std::size_t i : result_.locked) actives_.defer(*batch_[i]);
    std::uint64_t rows = 0;
    for (std::size_t i = 0; i < batch_.size(); ++i) {
        if (!written[i]) continue;
        ++rows;
        actives_.settled(*batch_[i], now);
    }
    for (Active* a : conflicts) actives_.changed_by_others(*a);
    // Nothing but locked rows, of all that there are: to look again at once would be to spin.
    locked_ = rows == 0 && conflicts.empty() ? locked_ + batch_.size() : 0;
    if (locked_ >= dirty_) {
        truncated_ = false;
        locked_ = 0;
    }
    hub::count(hub::Counter::settles);
    hub::count(hub::Counter::settled_rows, rows);
    hub::count(hub::Counter::settle_conflicts, conflicts.size());
    batch_.clear();
}

void Settler::failed(const pg::PgError& error, core::Time now) {
    batch_.clear();
    truncated_ = false;
    switch (blame_of(error)) {
        case Blame::lock:
            careful_ = true;
            return;
        case Blame::everything:
            throw error;
        case Blame::row:
        case Blame::disk:
            write_one_by_one(now);
    }
}

void Settler::write_one_by_one(core::Time now) {
    std::size_t written = 0;
    std::size_t failed = 0;
    for (Active* a : actives_.dirty()) {
        try {
            write_alone(*a, now);
            ++written;
        } catch (const pg::PgError& error) {
            const Blame blame = blame_of(error);
            if (blame == Blame::everything) throw;
            if (blame == Blame::row) put_aside(*a, error.what());
            if (blame != Blame::disk) continue;
            try_later(*a, error.what());
            if (written == 0 && ++failed == disk_is_gone) throw;
        }
    }
}

void Settler::write_alone(Active& a, core::Time now) {
    const store::SettleResult result = pg::in_transaction([&] {
        const store::Settlement one[] = {settlement_of(a)};
        return store::settle(one, now, true);
    });
    DTM_CRASH_POINT("worker.settled_alone");
    // As in Coordinator::turn: nothing leaves after a synchronous wait that was cancelled.
    pg::call([] { CHECK_FOR_INTERRUPTS(); });
    if (!result.conflicts.empty()) {
        actives_.changed_by_others(a);
    } else if (result.locked.empty()) {
        actives_.settled(a, now);
    }
}

// It may be over soon, or when somebody has mended the disk: nothing is wrong with the transaction.
void Settler::try_later(Active& a, const std::string& why) {
    a.rest_time = std::clamp(2 * a.rest_time, first_rest_time, rest_time);
    pg::log(WARNING,
            "dtm_pg cannot write the state of transaction " + a.gid() + " and tries again later",
            why);
    actives_.rest(a, pg::now() + a.rest_time);
}

void Settler::put_aside(Active& a, const std::string& why) {
    try {
        pg::in_transaction([&] {
            store::put_aside(a.gid(), a.version, "its state could not be written: " + why);
        });
        DTM_CRASH_POINT("worker.unwritable_put_aside");
        pg::log(LOG,
                "dtm_pg cannot write the state of transaction " + a.gid() + " and puts it aside",
                why, "See dtm.attention; dtm_retry_now() brings it back.");
        hub::count(hub::Counter::attention);
        actives_.put_aside(a, why);
    } catch (const pg::PgError& error) {
        if (blame_of(error) == Blame::everything) throw;
        pg::log(
            WARNING,
            "dtm_pg can neither write nor mark transaction " + a.gid() + " and tries again later",
            error.what());
        actives_.rest(a, pg::now() + rest_time);
    }
}

}  // namespace dtm::worker
