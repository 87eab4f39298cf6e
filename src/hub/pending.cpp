// See pending.hpp.
#include "hub/pending.hpp"

#include "crash_point.hpp"
#include "pg/transaction_list.hpp"

#include <algorithm>
#include <string>

namespace dtm::hub {
namespace {

class Gids final : public pg::TransactionList<Announced> {
    void ending(bool committed) noexcept override {
        if (!committed || empty()) return;
        DTM_CRASH_POINT("hub.gids_committed");
        for (const Entry& e : entries()) announce(e.value.gid, e.value.wish);
        DTM_CRASH_POINT("hub.gids_announced");
    }
};
Gids gids;

class DatabaseChecks final : public pg::TransactionList<Oid> {
    void ending(bool committed) noexcept override {
        if (!committed || empty()) return;
        DTM_CRASH_POINT("hub.extension_committed");
        announce_database(entries().front().value);
    }
};
DatabaseChecks database_checks;

class Orders final : public pg::TransactionList<Oid> {
    void ending(bool committed) noexcept override {
        if (!committed || empty()) return;
        DTM_CRASH_POINT("hub.orders_committed");
        announce_control(entries().front().value);
    }
};
Orders orders;

}  // namespace

void pending_add(std::string_view gid, Wish wish) { gids.add({std::string(gid), wish}); }

bool pending_contains(std::string_view gid) {
    return std::any_of(gids.entries().begin(), gids.entries().end(),
                       [&](const auto& e) { return e.value.gid == gid; });
}

void pending_database_check() { database_checks.add(MyDatabaseId); }

void pending_control() { orders.add(MyDatabaseId); }

}  // namespace dtm::hub
