// The launcher: one per cluster, connected to no database. Knows the databases by OID, probes each
// one once for the extension (a coordinator starts, looks and leaves), starts a coordinator per
// worker slot where it is, and starts it again with a growing delay when it ends. It survives its
// own death: everything it needs to know is in the catalog and in the slots.
#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "hub/shortage.hpp"
#include "pg/time.hpp"
#include "pg/transaction.hpp"
#include "pg/wait_event.hpp"
#include "worker/process.hpp"

extern "C" {
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_database.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
}

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

extern "C" {
DTM_EXPORT void dtm_launcher_main(Datum argument);
}

namespace dtm::worker {
namespace {

using pg::UnixTime;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds list_every{5};  // databases made by CREATE DATABASE … TEMPLATE tell nobody
constexpr milliseconds first_delay{200};
constexpr seconds longest_delay{60};
constexpr seconds healthy_after{30};  // a coordinator that lived so long resets the delay
constexpr seconds start_limit{30};    // a reserved slot whose process never came
constexpr milliseconds busy_delay{1000};
constexpr std::chrono::minutes probe_every{5};
// Databases without the extension are the many; looking at them must not take the places of the
// few.
constexpr int most_probes = 2;

struct Database {
    std::string name;
    hub::Lacking lacking = hub::Lacking::nothing;
    bool absent = false;     // probed: the extension is not there
    bool known = false;      // it was there; before, a start is a probe
    bool announced = false;  // somebody said so after the last start
    UnixTime probe_again{};  // COMMIT PREPARED of a CREATE EXTENSION tells nobody
    milliseconds delay = first_delay;
    UnixTime not_before{};
    bool look_first = false;  // a coordinator ended: the database may be gone, or somebody wants it
};

struct Started {  // a slot this launcher reserved
    Oid database = InvalidOid;
    std::uint32_t generation = 0;
    UnixTime at{};
};

// The time of day when it was made, and from then on the time that has passed: delays end, whatever
// is done to the clock.
class SteadyClock {
public:
    UnixTime now() const {
        return begin_ + std::chrono::duration_cast<std::chrono::microseconds>(
                            std::chrono::steady_clock::now() - steady_begin_);
    }

private:
    UnixTime begin_ = pg::now();
    std::chrono::steady_clock::time_point steady_begin_ = std::chrono::steady_clock::now();
};

class Launcher {
public:
    void turn(UnixTime now) {
        const std::vector<hub::SlotView> slots = hub::view_slots();
        watch(slots, now);
        if (listed_at_ + list_every <= now || restart_due(now)) {
            list_databases(now);
            listed_at_ = now;
        }
        if (first_turn_) adopt(slots, now);
        first_turn_ = false;
        take_announcements();
        probes_ = static_cast<int>(std::count_if(slots.begin(), slots.end(), [](const auto& slot) {
            return slot.state != hub::SlotState::free && !slot.serving;
        }));
        for (auto& [oid, database] : databases_) start_missing(oid, database, slots, now);
        publish_shortages();
    }

    milliseconds idle(UnixTime now) const {
        UnixTime until = std::min(listed_at_ + list_every, now + list_every);
        for (const auto& [oid, database] : databases_) {
            const UnixTime next = database.absent ? database.probe_again : database.not_before;
            if (next > now) until = std::min(until, next);
        }
        return std::max(std::chrono::ceil<milliseconds>(until - now), milliseconds{10});
    }

private:
    bool restart_due(UnixTime now) const {
        return std::any_of(databases_.begin(), databases_.end(), [now](const auto& entry) {
            return entry.second.look_first && !entry.second.absent &&
                   entry.second.not_before <= now;
        });
    }
    void list_databases(UnixTime now);
    void take_announcements();
    void adopt(const std::vector<hub::SlotView>& slots, UnixTime now);
    void watch(const std::vector<hub::SlotView>& slots, UnixTime now);
    void ended(const Started& started, const hub::SlotView& slot, UnixTime now);
    void start_missing(Oid oid, Database& database, const std::vector<hub::SlotView>& slots,
                       UnixTime now);
    bool start(Oid oid, Database& database, int worker, UnixTime now);
    void publish_shortages() const;
    void warn_once(Oid oid, const Database& database, const std::string& message,
                   const std::string& hint);

    std::map<Oid, Database> databases_;
    std::map<int, Started> started_;  // by slot
    std::set<Oid> warned_;
    std::set<Oid> heard_of_;  // announced, but not listed yet
    UnixTime listed_at_{};
    bool first_turn_ = true;
    int probes_ = 0;  // running now
};

void Launcher::list_databases(UnixTime now) {
    struct Listed {
        Oid oid;
        NameData name;
    };
    std::vector<Listed> found;
    std::map<Oid, Database> next;
    found.reserve(256);
    {
        pg::Transaction transaction;
        pg::call([&] {
            Relation relation = table_open(DatabaseRelationId, AccessShareLock);
            TableScanDesc scan = table_beginscan_catalog(relation, 0, nullptr);
            HeapTuple tuple = nullptr;
            while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection))) {
                auto* form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
                // -2: a database whose DROP was interrupted; nobody can connect.
                const bool usable =
                    form->datallowconn && !form->datistemplate && form->datconnlimit != -2;
                if (usable) found.push_back({form->oid, form->datname});
            }
            table_endscan(scan);
            table_close(relation, AccessShareLock);
        });
        for (const auto& [oid, name] : found) {
            Database& database = next[oid] = databases_[oid];
            database.name = NameStr(name);
            if (heard_of_.contains(oid)) database.announced = true;
            if (!database.look_first || database.not_before > now) continue;
            // To start there now would mean to wait for the command, and to fail if it was a DROP.
            database.look_first = database_is_wanted(oid);
            if (database.look_first) database.not_before = now + busy_delay;
        }
        transaction.commit();
    }
    heard_of_.clear();
    databases_.swap(next);
}

void Launcher::take_announcements() {
    const auto announced = hub::take_announced_databases();
    const auto look_again = [&](Database& database) {
        if (database.absent) {
            Database fresh;
            fresh.name = std::move(database.name);
            database = std::move(fresh);
        }
        database.announced = true;
    };
    if (!announced) {
        for (auto& [oid, database] : databases_) look_again(database);
        return;
    }
    for (Oid oid : *announced) {
        const auto known = databases_.find(oid);
        if (known != databases_.end()) {
            look_again(known->second);
        } else {
            heard_of_.insert(oid);  // a database that is younger than our list
            listed_at_ = UnixTime{};
        }
    }
}

// Coordinators that an earlier launcher started go on undisturbed.
void Launcher::adopt(const std::vector<hub::SlotView>& slots, UnixTime now) {
    for (std::size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].state != hub::SlotState::running) continue;
        started_[static_cast<int>(i)] = {slots[i].database, slots[i].generation, now};
        const auto known = databases_.find(slots[i].database);
        if (known != databases_.end()) known->second.known = slots[i].serving;
    }
}

void Launcher::watch(const std::vector<hub::SlotView>& slots, UnixTime now) {
    for (auto it = started_.begin(); it != started_.end();) {
        const hub::SlotView& slot = slots[static_cast<std::size_t>(it->first)];
        const bool same = slot.generation == it->second.generation;
        if (same && slot.state == hub::SlotState::running) {
            const auto known = databases_.find(it->second.database);
            if (known != databases_.end() && slot.serving) known->second.known = true;
            ++it;
            continue;
        }
        if (same && slot.state == hub::SlotState::starting) {
            if (now - it->second.at < start_limit) {
                ++it;
                continue;
            }
            hub::free_slot(it->first, it->second.generation);
        }
        ended(it->second, slot, now);
        it = started_.erase(it);
    }
    // Slots reserved by an earlier launcher that died before their process came.
    for (std::size_t i = 0; i < slots.size(); ++i) {
        const auto age = std::chrono::abs(pg::now() - pg::from_timestamptz(slots[i].since));
        const bool stale = slots[i].state == hub::SlotState::starting &&
                           !started_.contains(static_cast<int>(i)) && age > start_limit;
        if (stale) hub::free_slot(static_cast<int>(i), slots[i].generation);
    }
}

void Launcher::ended(const Started& started, const hub::SlotView& slot, UnixTime now) {
    const auto known = databases_.find(started.database);
    if (known == databases_.end()) return;
    Database& database = known->second;
    database.look_first = true;
    switch (slot.leaving) {
        case hub::Leaving::no_extension:
            // It may have come back while the coordinator was leaving: then somebody has said so.
            database.absent = !database.announced;
            database.known = false;
            database.not_before = now;
            database.probe_again = now + probe_every;
            break;
        case hub::Leaving::reconfigured:
            database.not_before = now;
            break;
        case hub::Leaving::database_busy:
            // Not a failure: it comes back as soon as the command is over.
            database.not_before = now + busy_delay;
            break;
        case hub::Leaving::unknown:
            if (now - started.at > healthy_after) database.delay = first_delay;
            database.not_before = now + database.delay;
            database.delay = std::min<milliseconds>(database.delay * 2, longest_delay);
            break;
    }
}

void Launcher::publish_shortages() const {
    std::vector<hub::Shortage> all;
    for (const auto& [oid, database] : databases_) {
        if (database.lacking == hub::Lacking::nothing) continue;
        all.push_back({oid, database.lacking, database.known || database.announced});
    }
    hub::publish_shortages(all);
}

void Launcher::warn_once(Oid oid, const Database& database, const std::string& message,
                         const std::string& hint) {
    if (!warned_.insert(oid).second) return;
    pg::log(WARNING, message,
            "Transactions of database \"" + database.name +
                "\" wait in their table until it can be started.",
            hint);
}

void Launcher::start_missing(Oid oid, Database& database, const std::vector<hub::SlotView>& slots,
                             UnixTime now) {
    if (database.absent && database.probe_again <= now) database.absent = false;
    if (database.absent || database.not_before > now) return;
    const int workers = hub::settings.workers;
    std::set<int> present;
    for (const hub::SlotView& slot : slots) {
        if (slot.state == hub::SlotState::free || slot.database != oid) continue;
        // Coordinators with another number of slices must be gone first: slices may not overlap.
        if (slot.workers != workers) return;
        present.insert(slot.worker);
    }
    // One probe tells whether the others are wanted.
    const int wanted = database.known ? workers : 1;
    for (int worker = 0; worker < wanted; ++worker) {
        if (present.contains(worker)) continue;
        if (!database.known && probes_ >= most_probes) return;  // the end of a probe wakes us
        if (!start(oid, database, worker, now)) return;
        if (!database.known) ++probes_;
    }
    database.lacking = hub::Lacking::nothing;
}

bool Launcher::start(Oid oid, Database& database, int worker, UnixTime now) {
    std::uint32_t generation = 0;
    const int slot = hub::reserve_slot(oid, worker, hub::settings.workers, generation);
    DTM_CRASH_POINT("worker.slot_reserved");
    const bool started = slot >= 0 && start_coordinator(slot, generation, oid);
    DTM_CRASH_POINT("worker.coordinator_registered");
    if (started) {
        warned_.erase(oid);
        database.announced = false;
        started_[slot] = {oid, generation, now};
        return true;
    }
    database.lacking = slot < 0 ? hub::Lacking::slot : hub::Lacking::process;
    if (slot >= 0) hub::free_slot(slot, generation);
    if (!database.known && !database.announced) {  // nobody is waiting there as far as we know
        database.not_before = now + busy_delay;
        return false;
    }
    if (slot < 0) {
        warn_once(oid, database, "no slot is free for another dtm coordinator",
                  "Raise dtm.max_coordinators and restart the server.");
    } else {
        warn_once(oid, database, "no background worker is free for a dtm coordinator",
                  "Raise max_worker_processes and restart the server.");
    }
    database.not_before = now + database.delay;
    database.delay = std::min<milliseconds>(database.delay * 2, longest_delay);
    return false;
}

[[noreturn]] void launcher_main() {
    pg::call([] {
        pqsignal(SIGHUP, SignalHandlerForConfigReload);
        pqsignal(SIGTERM, die);
        pqsignal(SIGINT, SIG_IGN);  // pg_cancel_backend has nothing to cancel here
        BackgroundWorkerUnblockSignals();
        BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    });
    hub::launcher_attach();
    const std::uint32_t wait_event = pg::wait_event(pg::WaitEvent::launcher);
    Launcher launcher;
    const SteadyClock clock;
    for (;;) {
        const UnixTime now = clock.now();
        launcher.turn(now);
        const long timeout = launcher.idle(now).count();
        pg::call([&] {
            (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
                            wait_event);
            ResetLatch(MyLatch);
            CHECK_FOR_INTERRUPTS();
            if (ConfigReloadPending) {
                ConfigReloadPending = 0;
                ProcessConfigFile(PGC_SIGHUP);
            }
        });
    }
}

}  // namespace
}  // namespace dtm::worker

extern "C" void dtm_launcher_main(Datum) {
    dtm::pg::entry([&]() -> Datum { dtm::worker::launcher_main(); });
}
