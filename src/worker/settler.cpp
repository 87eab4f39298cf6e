// See settler.hpp.
#include "worker/settler.hpp"

#include "hub/shared.hpp"
#include "pg/transaction.hpp"

#include <algorithm>

namespace dtm::worker {
namespace {

// One statement per batch stays short enough to answer interrupts in time.
constexpr std::size_t max_batch = 2000;

bool is_lock_trouble(int sqlstate) {
    return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;
}

}  // namespace

bool Settler::is_about_everything(const pg::PgError& error) {
    const int category = ERRCODE_TO_CATEGORY(error.sqlstate());
    return error.sqlstate() == ERRCODE_UNDEFINED_TABLE ||
           error.sqlstate() == ERRCODE_INVALID_SCHEMA_NAME ||
           error.sqlstate() == ERRCODE_UNDEFINED_COLUMN ||
           category == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
           category == ERRCODE_TO_CATEGORY(ERRCODE_READ_ONLY_SQL_TRANSACTION) ||
           category == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION);
}

void Settler::write(core::Time now) {
    batch_ = actives_.dirty();
    truncated_ = batch_.size() > max_batch;
    if (truncated_) batch_.resize(max_batch);
    result_ = {};
    if (batch_.empty()) return;
    std::vector<store::Settlement> rows;
    rows.reserve(batch_.size());
    for (Active* a : batch_) rows.push_back(settlement_of(*a));
    result_ = store::settle(rows, now, careful_);
    careful_ = !result_.locked.empty();
}

void Settler::committed(core::Time now) {
    if (batch_.empty()) return;
    std::vector<bool> written(batch_.size(), true);
    for (std::size_t i : result_.locked) written[i] = false;  // stays dirty; tried again next time
    for (std::size_t i : result_.conflicts) written[i] = false;
    std::vector<Active*> conflicts;
    for (std::size_t i : result_.conflicts) conflicts.push_back(batch_[i]);
    std::uint64_t rows = 0;
    for (std::size_t i = 0; i < batch_.size(); ++i) {
        if (!written[i]) continue;
        ++rows;
        actives_.settled(*batch_[i], now);
    }
    for (Active* a : conflicts) actives_.changed_by_others(*a);
    hub::count(hub::Counter::settles);
    hub::count(hub::Counter::settled_rows, rows);
    hub::count(hub::Counter::settle_conflicts, conflicts.size());
    batch_.clear();
}

void Settler::failed(const pg::PgError& error, core::Time now) {
    batch_.clear();
    if (is_lock_trouble(error.sqlstate())) {
        careful_ = true;
        return;
    }
    if (is_about_everything(error)) throw error;
    write_one_by_one(now);
}

void Settler::write_one_by_one(core::Time now) {
    for (Active* a : actives_.dirty()) {
        try {
            if (write_alone(*a, now)) {
                actives_.settled(*a, now);
            } else {
                actives_.changed_by_others(*a);
            }
        } catch (const pg::PgError& error) {
            if (is_lock_trouble(error.sqlstate())) continue;
            if (is_about_everything(error)) throw;
            put_aside(*a, error.what());
        }
    }
}

bool Settler::write_alone(Active& a, core::Time now) {
    pg::Transaction transaction;
    store::SettleResult result;
    {
        pg::Spi spi;
        const store::Settlement one[] = {settlement_of(a)};
        result = store::settle(one, now, false);
    }
    transaction.commit();
    return result.conflicts.empty();
}

void Settler::put_aside(Active& a, const std::string& why) {
    pg::log(LOG, "dtm_pg cannot write the state of transaction " + a.gid() + " and puts it aside",
            why, "See dtm.attention; dtm_retry_now() brings it back.");
    {
        pg::Transaction transaction;
        {
            pg::Spi spi;
            store::put_aside(a.gid(), a.version, "its state could not be written: " + why);
        }
        transaction.commit();
    }
    hub::count(hub::Counter::attention);
    actives_.forget(a);
}

}  // namespace dtm::worker
