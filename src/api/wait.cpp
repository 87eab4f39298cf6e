// dtm_wait: the final status of a transaction, once it has one. Each look takes a snapshot of its
// own and gives it back, so it works in every isolation level; between the looks nothing is held
// but what the caller's statement holds itself.
#include "api/result.hpp"
#include "core/types.hpp"
#include "hub/pending.hpp"
#include "hub/shared.hpp"
#include "pg/transaction.hpp"
#include "store/access.hpp"
#include "store/lookup.hpp"

extern "C" {
#include "utils/snapmgr.h"
}

namespace dtm::api {

namespace {

// A waiter is woken by the coordinator. Should that ever be missed, it looks by itself this often.
constexpr long longest_nap_ms = 1000;

std::optional<std::string> look(std::string_view gid, Oid viewer) {
    // Never committed: the table lock that reading takes goes with it. Kept, it would let every
    // submit queue behind the first DDL that waits for this session.
    const pg::Subtransaction drop_locks;
    const store::AsOwner as_owner;
    pg::call([] { PushActiveSnapshot(GetLatestSnapshot()); });
    auto status = store::find_status(gid, viewer);
    pg::call([] { PopActiveSnapshot(); });
    return status;
}

void refuse_own(std::string_view gid) {
    if (!hub::pending_contains(gid)) return;
    throw pg::SqlError(
        "55000", "transaction " + in_quotes(gid) + " was written by the transaction that waits",
        "Nothing is called for it before that has committed.", "COMMIT first, then call dtm_wait.");
}

// None: without limit.
std::optional<pg::UnixTime> end_of(const Interval* timeout) {
    if (timeout == nullptr) return std::nullopt;
    const long double micros = static_cast<long double>(timeout->time) + 86400e6L * timeout->day +
                               30 * 86400e6L * timeout->month;
    constexpr long double century = 36525 * 86400e6L;
    if (micros > century) return std::nullopt;
    return pg::now() + std::chrono::microseconds(static_cast<std::int64_t>(std::max(micros, 0.0L)));
}

std::optional<std::string> wait(std::string_view gid, const Interval* timeout) {
    const Oid viewer = GetUserId();
    const auto end = end_of(timeout);
    refuse_own(gid);
    hub::Waiter waiter(gid);  // before the first look: nothing between look and nap is missed
    for (;;) {
        auto status = look(gid, viewer);
        if (!status) unknown_gid(gid);
        const auto known = core::parse_status(*status);
        if (known && core::is_final(*known)) return status;
        long nap = longest_nap_ms;
        if (end) {
            const auto left = *end - pg::now();
            if (left <= left.zero()) return std::nullopt;
            nap = std::min<std::int64_t>(nap, left.count() / 1000 + 1);
        }
        waiter.wait(nap);
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
    }
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_wait) {
    if (PG_ARGISNULL(0)) PG_RETURN_NULL();
    const auto status =
        api::wait(pg::text_arg(fcinfo, 0), PG_ARGISNULL(1) ? nullptr : PG_GETARG_INTERVAL_P(1));
    if (!status) PG_RETURN_NULL();
    return pg::text_datum(*status);
}
