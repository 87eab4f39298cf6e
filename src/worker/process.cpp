// See process.hpp: the coordinator's process around worker/coordinator.
#include "worker/process.hpp"

#include "crash_point.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "pg/transaction.hpp"
#include "pg/wait_event.hpp"
#include "worker/coordinator.hpp"
#include "worker/housekeeping.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>

extern "C" {
DTM_EXPORT void dtm_coordinator_main(Datum argument);
DTM_EXPORT void dtm_launcher_main(Datum argument);
}

namespace dtm::worker {
namespace {

std::unique_ptr<Coordinator> coordinator;
std::unique_ptr<Housekeeping> housekeeping;

// Whatever ends the process, the network thread ends first: exit() runs destructors that it may
// use.
void stop_network(int, Datum) {
    if (coordinator) coordinator->stop();
}

void set(const char* name, const char* value) {
    pg::call([&] { SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE); });
}

// What a database or role sets for its sessions must not change what the coordinator means.
void fix_session_settings() {
    set("search_path", "pg_catalog, pg_temp");
    set("default_transaction_isolation", "read committed");
    set("default_transaction_read_only", "off");
    set("statement_timeout", "0");
    set("idle_in_transaction_session_timeout", "0");
#if PG_VERSION_NUM >= 170000
    set("transaction_timeout", "0");
#endif
    // Shorter than deadlock_timeout: our workers give way, not the sessions of others.
    const int lock_ms = std::clamp(DeadlockTimeout / 2, 1, 500);
    set("lock_timeout", (std::to_string(lock_ms) + "ms").c_str());
    set("row_security", "off");
    set("jit", "off");
    // Plans that are right for one row and for a thousand, whatever the statistics say.
    set("plan_cache_mode", "force_generic_plan");
    set("enable_nestloop", "on");
    set("enable_indexscan", "on");
    set("enable_bitmapscan", "on");
    set("enable_seqscan", "off");
    set("enable_hashjoin", "off");
    set("enable_mergejoin", "off");
    set("enable_sort", "off");  // the first of many in an order: from an index that has it
    // P5: a decision is durable before its consequence, on the synchronous standby too. What waits
    // for a standby is kept as it is.
    if (synchronous_commit <= SYNCHRONOUS_COMMIT_LOCAL_FLUSH) set("synchronous_commit", "on");
}

// ALTER DATABASE … IS_TEMPLATE or ALLOW_CONNECTIONS: the launcher comes back when that ends.
bool database_is_closed() {
    return pg::call([] {
        HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
        if (!HeapTupleIsValid(tuple)) return true;
        auto* form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        const bool closed = form->datistemplate || !form->datallowconn;
        ReleaseSysCache(tuple);
        return closed;
    });
}

[[noreturn]] void leave(hub::Leaving reason, int code) {
    hub::set_leaving(reason);
    proc_exit(code);
}

// Once per tick: may this process still be here?
void check_place() {
    bool wanted = false;
    bool present = false;
    {
        pg::Transaction transaction;
        wanted = database_is_wanted(MyDatabaseId) || database_is_closed();
        present = !wanted && extension_present();
        transaction.commit();
    }
    if (wanted) {
        pg::log(DEBUG1,
                "dtm coordinator leaves its database to a command that needs it for itself");
        leave(hub::Leaving::database_busy, 1);
    }
    if (!present) leave(hub::Leaving::no_extension, 0);
    if (hub::settings.workers != hub::my_slot().workers) {
        leave(hub::Leaving::reconfigured, 1);
    }
}

void reload_settings() {
    if (!ConfigReloadPending) return;
    ConfigReloadPending = 0;
    pg::call([] { ProcessConfigFile(PGC_SIGHUP); });
    fix_session_settings();
    coordinator->configure();
    housekeeping->look_now();
}

// One log line when the state changes, not one per failed turn.
class Trouble {
public:
    void report(const std::string& what) {
        if (what == last_) return;
        last_ = what;
        pg::log(WARNING, "dtm coordinator cannot work and tries again every second", what);
    }
    void over() {
        if (last_.empty()) return;
        last_.clear();
        pg::log(LOG, "dtm coordinator works again");
    }

private:
    std::string last_;
};

WaitEventSet* make_wait_set(int fd) {
    return pg::call([fd] {
        MemoryContextSwitchTo(TopMemoryContext);
#if PG_VERSION_NUM >= 170000
        WaitEventSet* made = CreateWaitEventSet(nullptr, 3);
#else
        WaitEventSet* made = CreateWaitEventSet(TopMemoryContext, 3);
#endif
        AddWaitEventToSet(made, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, nullptr);
        AddWaitEventToSet(made, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, nullptr, nullptr);
        AddWaitEventToSet(made, WL_SOCKET_READABLE, fd, nullptr, nullptr);
        return made;
    });
}

// One coordinator of the database does.
bool keeps_house() { return hub::my_slot().worker == 0; }

long idle_ms() {
    const long idle = coordinator->idle_ms();
    if (!keeps_house()) return idle;
    const core::Time now = pg::now();
    const auto due =
        std::chrono::ceil<std::chrono::milliseconds>(housekeeping->due(now) - now).count();
    return std::clamp<long>(due, 0, idle);
}

bool turn(Trouble& trouble, std::chrono::steady_clock::time_point& next_check) {
    try {
        if (const auto steady = std::chrono::steady_clock::now(); steady >= next_check) {
            check_place();
            next_check = steady + std::chrono::seconds{1};
        }
        coordinator->turn();
        const core::Time now = pg::now();
        if (keeps_house() && now >= housekeeping->due(now)) housekeeping->turn(now);
        trouble.over();
        return true;
    } catch (const pg::PgError& error) {
        if (error.sqlstate() == ERRCODE_UNDEFINED_TABLE ||
            error.sqlstate() == ERRCODE_INVALID_SCHEMA_NAME) {
            check_place();  // DROP EXTENSION is no trouble: it ends this process
        }
        trouble.report(error.what());
        coordinator->cannot_work(error.what());
    } catch (const std::exception& error) {
        // Not the database's: what is in memory may be half changed. The table is the truth.
        pg::log(WARNING, "dtm coordinator begins anew", error.what());
        leave(hub::Leaving::unknown, 1);
    }
    return false;
}

[[noreturn]] void run_loop() {
    WaitEventSet* const wait_set = make_wait_set(coordinator->ready_fd());
    const std::uint32_t wait_event = pg::wait_event(pg::WaitEvent::coordinator);
    Trouble trouble;
    std::chrono::steady_clock::time_point next_check;
    bool healthy = true;
    for (;;) {
        const long timeout = healthy ? idle_ms() : 1000;
        pg::call([&] {
            WaitEvent events[3];
            if (healthy) {
                (void)WaitEventSetWait(wait_set, timeout, events, 3, wait_event);
            } else {
                // Answers may be waiting that nobody takes: without their descriptor, or it would
                // spin.
                (void)WaitLatch(nullptr, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
            }
            ResetLatch(MyLatch);
            CHECK_FOR_INTERRUPTS();
        });
        reload_settings();
        healthy = turn(trouble, next_check);
        pg::call([] { (void)pgstat_report_stat(false); });
    }
}

// lock_timeout cancels by a SIGINT that the process sends to itself. One that somebody else sends
// is ignored: in a synchronous-replication wait it would let a decision out that no standby has.
extern "C" void on_sigint(int signal, siginfo_t* info, void*) {
    if (info->si_pid == MyProcPid) StatementCancelHandler(signal);
}

void handle_sigint() {
    struct sigaction action = {};
    action.sa_sigaction = on_sigint;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, nullptr);
}

void connect(Oid database) {
    handle_sigint();
    pg::call([database] {
        pqsignal(SIGHUP, SignalHandlerForConfigReload);
        pqsignal(SIGTERM, die);
        BackgroundWorkerUnblockSignals();
        BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    });
}

void say_started() {
    pg::Transaction transaction;
    const std::string database = database_name();
    transaction.commit();
    pg::log(LOG, "dtm coordinator " + std::to_string(hub::my_slot().worker + 1) + " of " +
                     std::to_string(hub::my_slot().workers) + " of database " + database +
                     " started");
}

[[noreturn]] void coordinator_main(Datum argument) {
    const int slot = DatumGetInt32(argument);
    std::uint32_t generation = 0;
    std::memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof generation);
    if (!hub::attach_slot(slot, generation)) proc_exit(1);
    DTM_CRASH_POINT("worker.slot_attached");
    connect(hub::my_slot().database);
    fix_session_settings();
    check_place();
    coordinator = std::make_unique<Coordinator>(hub::my_slot().worker, hub::my_slot().workers);
    housekeeping = std::make_unique<Housekeeping>();
    pg::call([] { before_shmem_exit(stop_network, Datum{0}); });
    hub::set_serving();
    DTM_CRASH_POINT("worker.serving");
    say_started();
    run_loop();
}

void fill(::BackgroundWorker& worker, const char* type, const std::string& name,
          const char* function) {
    std::memset(&worker, 0, sizeof worker);
    std::strncpy(worker.bgw_name, name.c_str(), BGW_MAXLEN - 1);
    std::strncpy(worker.bgw_type, type, BGW_MAXLEN - 1);
    std::strcpy(worker.bgw_library_name, "dtm_pg");
    std::strncpy(worker.bgw_function_name, function, sizeof worker.bgw_function_name - 1);
    worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
}

}  // namespace

void register_launcher() {
    ::BackgroundWorker worker;
    fill(worker, "dtm launcher", "dtm launcher", "dtm_launcher_main");
    worker.bgw_restart_time = 1;
    pg::call([&] { RegisterBackgroundWorker(&worker); });
}

bool start_coordinator(int slot, std::uint32_t generation, std::uint32_t database) {
    ::BackgroundWorker worker;
    fill(worker, "dtm coordinator", "dtm coordinator of database " + std::to_string(database),
         "dtm_coordinator_main");
    worker.bgw_restart_time = BGW_NEVER_RESTART;  // the launcher decides
    worker.bgw_main_arg = Int32GetDatum(slot);
    worker.bgw_notify_pid = MyProcPid;
    std::memcpy(worker.bgw_extra, &generation, sizeof generation);
    return pg::call([&] {
        BackgroundWorkerHandle* handle = nullptr;
        return RegisterDynamicBackgroundWorker(&worker, &handle);
    });
}

std::string database_name() {
    const char* const name = pg::call([] { return get_database_name(MyDatabaseId); });
    return "\"" + std::string(name == nullptr ? "?" : name) + "\"";
}

bool database_is_wanted(std::uint32_t database) {
    return pg::call([database] {
        LOCKTAG tag;
        SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
        if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL) return true;
        LockRelease(&tag, RowExclusiveLock, false);
        return false;
    });
}

bool extension_present() {
    return pg::call([] {
        if (!OidIsValid(get_extension_oid("dtm_pg", true))) return false;
        const Oid schema = get_namespace_oid("dtm", true);
        return OidIsValid(schema) && OidIsValid(get_relname_relid("trans", schema));
    });
}

}  // namespace dtm::worker

extern "C" void dtm_coordinator_main(Datum argument) {
    dtm::pg::entry([&]() -> Datum { dtm::worker::coordinator_main(argument); });
}
