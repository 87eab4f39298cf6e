// See shared.hpp. Layout: one block with a header and max_coordinators slots. Spinlocks guard the
// rings and the slot table: the sections are a few copies long, call nothing that may fail, and are
// taken at commit, where an error would be a PANIC.
#include "hub/shared.hpp"

#include "hub/endpoints.hpp"
#include "hub/listener.hpp"
#include "hub/settings.hpp"
#include "hub/shortage.hpp"
#include "pg/call.hpp"
#include "pg/wait_event.hpp"

#include <algorithm>
#include <array>
#include <cstring>

extern "C" {
#include "common/hashfn.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
}

namespace dtm::hub {
namespace {

constexpr std::uint32_t ring_size =
    4096;                               // more hints than one loop takes; the rest is the sweep's
constexpr std::size_t gid_bytes = 128;  // wire::Limits::max_gid_bytes
constexpr int inbox_size = 64;
constexpr int wait_buckets = 64;
constexpr int counter_count = static_cast<int>(Counter::count);

struct Hint {
    Wish wish;
    std::uint8_t size;
    char gid[gid_bytes];
};

struct Slot {
    slock_t lock;  // guards the ring
    SlotState state;
    Leaving leaving;
    Oid database;
    int worker;
    int workers;
    bool serving;
    int pid;
    int proc;  // index of its PGPROC, for the latch
    std::uint32_t generation;
    TimestampTz since;
    std::uint32_t head;  // next to take; both count up for ever
    std::uint32_t tail;  // next to fill
    bool overflowed;
    pg_atomic_uint32 active;
    pg_atomic_uint32 in_flight;
    pg_atomic_uint32 control_changed;
    pg_atomic_uint64 counters[counter_count];
    Hint ring[ring_size];
};

struct Shared {
    slock_t lock;  // guards the slot table and the launcher's inbox; taken before Slot::lock
    int slot_count;
    Start start;
    int launcher_pid;
    int launcher_proc;
    bool inbox_overflowed;
    int inbox_used;
    Oid inbox[inbox_size];
    pg_atomic_uint32 waiters[wait_buckets];
    pg_atomic_uint32 ended[wait_buckets];  // counts up
    ConditionVariable finished[wait_buckets];
    Slot slots[FLEXIBLE_ARRAY_MEMBER];
};

Shared* shared = nullptr;
Slot* mine = nullptr;
SlotInfo mine_info;

#if PG_VERSION_NUM >= 150000
shmem_request_hook_type previous_request_hook = nullptr;
#endif
shmem_startup_hook_type previous_startup_hook = nullptr;

std::size_t shared_size() {
    return offsetof(Shared, slots) +
           sizeof(Slot) * static_cast<std::size_t>(settings.max_coordinators);
}

void request_hook() {
#if PG_VERSION_NUM >= 150000
    if (previous_request_hook != nullptr) previous_request_hook();
#endif
    RequestAddinShmemSpace(shared_size());
    RequestAddinShmemSpace(endpoints_size());
    RequestAddinShmemSpace(listener_size());
    RequestAddinShmemSpace(shortages_size());
}

void startup_hook() {
    if (previous_startup_hook != nullptr) previous_startup_hook();
    bool found = false;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    auto* block = static_cast<Shared*>(ShmemInitStruct("dtm_pg", shared_size(), &found));
    if (!found) {
        std::memset(static_cast<void*>(block), 0, shared_size());
        SpinLockInit(&block->lock);
        block->slot_count = settings.max_coordinators;
        // Of this postmaster: at its crash restarts the files that tell are gone.
        static const Start start = how_the_server_starts();
        block->start = start;
        for (int i = 0; i < wait_buckets; ++i) {
            pg_atomic_init_u32(&block->waiters[i], 0);
            pg_atomic_init_u32(&block->ended[i], 0);
            ConditionVariableInit(&block->finished[i]);
        }
        for (int i = 0; i < block->slot_count; ++i) {
            Slot& slot = block->slots[i];
            SpinLockInit(&slot.lock);
            pg_atomic_init_u32(&slot.active, 0);
            pg_atomic_init_u32(&slot.in_flight, 0);
            pg_atomic_init_u32(&slot.control_changed, 0);
            for (auto& c : slot.counters) pg_atomic_init_u64(&c, 0);
        }
    }
    shared = block;
    attach_endpoints();
    attach_listener();
    attach_shortages();
    LWLockRelease(AddinShmemInitLock);
}

int my_proc_index() {
#if PG_VERSION_NUM >= 170000
    return MyProcNumber;
#else
    return MyProc->pgprocno;
#endif
}

void wake(int proc) { SetLatch(&ProcGlobal->allProcs[proc].procLatch); }

std::uint32_t hash_of(std::string_view gid) {
    return DatumGetUInt32(
        hash_any(reinterpret_cast<const unsigned char*>(gid.data()), static_cast<int>(gid.size())));
}

class Locked {
public:
    explicit Locked(slock_t& lock) : lock_(lock) { SpinLockAcquire(&lock_); }
    ~Locked() { SpinLockRelease(&lock_); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

private:
    slock_t& lock_;
};

void release_launcher(int, Datum) {
    Locked guard(shared->lock);
    shared->launcher_pid = 0;
}

// Runs at exit of a coordinator, whatever the reason: the slot becomes free and the launcher looks.
void release_slot(int, Datum) {
    if (mine == nullptr) return;
    int launcher = -1;
    Oid database = InvalidOid;
    {
        Locked guard(shared->lock);
        database = mine->database;
        mine->state = SlotState::free;
        mine->pid = 0;
        if (shared->launcher_pid != 0) launcher = shared->launcher_proc;
    }
    mine = nullptr;
    if (database != InvalidOid && launcher >= 0) wake(launcher);
}

}  // namespace

void request_shared_memory() {
#if PG_VERSION_NUM >= 150000
    previous_request_hook = shmem_request_hook;
    shmem_request_hook = request_hook;
#else
    request_hook();
#endif
    previous_startup_hook = shmem_startup_hook;
    shmem_startup_hook = startup_hook;
}

bool shared_memory_present() { return shared != nullptr; }

int slice_of(std::string_view gid, int workers) {
    return workers <= 1 ? 0 : static_cast<int>(hash_of(gid) % static_cast<std::uint32_t>(workers));
}

void announce(std::string_view gid, Wish wish) noexcept {
    if (shared == nullptr || gid.size() > gid_bytes) return;
    bool served = false;
    for (int i = 0; i < shared->slot_count; ++i) {
        Slot& slot = shared->slots[i];
        // Read without the lock: a slot that changes under us costs this row one sweep interval.
        if (slot.state == SlotState::free || slot.database != MyDatabaseId) continue;
        served = true;
        if (slot.state != SlotState::running) continue;
        if (slice_of(gid, slot.workers) != slot.worker) continue;
        {
            Locked guard(slot.lock);
            if (slot.tail - slot.head >= ring_size) {
                slot.overflowed = true;
            } else {
                Hint& hint = slot.ring[slot.tail % ring_size];
                hint.wish = wish;
                hint.size = static_cast<std::uint8_t>(gid.size());
                std::memcpy(hint.gid, gid.data(), gid.size());
                ++slot.tail;
            }
        }
        wake(slot.proc);
        return;
    }
    if (!served) announce_database(MyDatabaseId);
}

void announce_database(Oid database) noexcept {
    if (shared == nullptr) return;
    int launcher = -1;
    {
        Locked guard(shared->lock);
        if (shared->inbox_used > 0 && shared->inbox[shared->inbox_used - 1] == database) return;
        if (shared->inbox_used < inbox_size) {
            shared->inbox[shared->inbox_used++] = database;
        } else {
            shared->inbox_overflowed = true;
        }
        if (shared->launcher_pid != 0) launcher = shared->launcher_proc;
    }
    if (launcher >= 0) wake(launcher);
}

Waiter::Waiter(std::string_view gid) : bucket_(static_cast<int>(hash_of(gid) % wait_buckets)) {
    if (shared == nullptr) return;
    pg_atomic_fetch_add_u32(&shared->waiters[bucket_], 1);
    seen_ = pg_atomic_fetch_add_u32(&shared->ended[bucket_], 0);
}

Waiter::~Waiter() {
    if (shared == nullptr) return;
    pg_atomic_fetch_sub_u32(&shared->waiters[bucket_], 1);
}

void Waiter::wait(long timeout_ms) {
    const std::uint32_t event = pg::wait_event(pg::WaitEvent::finished);
    pg::call([&] {
        if (shared != nullptr) {
            ConditionVariable* const finished = &shared->finished[bucket_];
            // Prepared here and not before the look: a subtransaction of the look that rolls back
            // would cancel it.
            ConditionVariablePrepareToSleep(finished);
            if (pg_atomic_read_u32(&shared->ended[bucket_]) == seen_) {
                (void)ConditionVariableTimedSleep(finished, timeout_ms, event);
            }
            ConditionVariableCancelSleep();
            seen_ = pg_atomic_fetch_add_u32(&shared->ended[bucket_], 0);
        } else {
            (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                            std::min(timeout_ms, 100L), event);
            ResetLatch(MyLatch);
        }
        CHECK_FOR_INTERRUPTS();
    });
}

void announce_finished(std::string_view gid) noexcept {
    if (shared == nullptr) return;
    const auto bucket = hash_of(gid) % wait_buckets;
    pg_atomic_fetch_add_u32(&shared->ended[bucket], 1);
    if (pg_atomic_read_u32(&shared->waiters[bucket]) == 0) return;
    ConditionVariableBroadcast(&shared->finished[bucket]);
}

std::vector<SlotInfo> slots() {
    std::vector<SlotInfo> all;
    if (shared == nullptr) return all;
    all.reserve(static_cast<std::size_t>(shared->slot_count));
    Locked guard(shared->lock);
    for (int i = 0; i < shared->slot_count; ++i) {
        Slot& slot = shared->slots[i];
        if (slot.state == SlotState::free) continue;
        SlotInfo info;
        info.database = slot.database;
        info.worker = slot.worker;
        info.workers = slot.workers;
        info.pid = slot.pid;
        info.started = slot.since;
        info.active = pg_atomic_read_u32(&slot.active);
        info.in_flight = pg_atomic_read_u32(&slot.in_flight);
        info.ring = slot.tail - slot.head;
        for (int c = 0; c < counter_count; ++c)
            info.counters[c] = pg_atomic_read_u64(&slot.counters[c]);
        all.push_back(info);  // reserved: does not allocate under the lock
    }
    return all;
}

int launcher_pid() { return shared == nullptr ? 0 : shared->launcher_pid; }

void launcher_attach() {
    {
        Locked guard(shared->lock);
        shared->launcher_pid = MyProcPid;
        shared->launcher_proc = my_proc_index();
    }
    pg::call([] { before_shmem_exit(release_launcher, Datum{0}); });
}

std::optional<std::vector<Oid>> take_announced_databases() {
    std::array<Oid, inbox_size> taken;
    int n = 0;
    bool overflowed = false;
    {
        Locked guard(shared->lock);
        n = shared->inbox_used;
        std::copy_n(shared->inbox, n, taken.begin());
        overflowed = shared->inbox_overflowed;
        shared->inbox_used = 0;
        shared->inbox_overflowed = false;
    }
    if (overflowed) return std::nullopt;
    return std::vector<Oid>(taken.begin(), taken.begin() + n);
}

int reserve_slot(Oid database, int worker, int workers, std::uint32_t& generation) {
    const TimestampTz now = GetCurrentTimestamp();
    Locked guard(shared->lock);
    for (int i = 0; i < shared->slot_count; ++i) {
        Slot& slot = shared->slots[i];
        if (slot.state != SlotState::free) continue;
        slot.state = SlotState::starting;
        slot.leaving = Leaving::unknown;
        slot.database = database;
        slot.worker = worker;
        slot.workers = workers;
        slot.serving = false;
        slot.pid = 0;
        slot.since = now;
        generation = ++slot.generation;
        return i;
    }
    return -1;
}

std::vector<SlotView> view_slots() {
    std::vector<SlotView> all(static_cast<std::size_t>(shared->slot_count));
    Locked guard(shared->lock);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const Slot& s = shared->slots[i];
        all[i] = {s.state,      s.database, s.worker,  s.workers, s.pid,
                  s.generation, s.since,    s.serving, s.leaving};
    }
    return all;
}

void free_slot(int index, std::uint32_t generation) {
    Locked guard(shared->lock);
    Slot& slot = shared->slots[index];
    // The next generation makes a late starter with the old one go away.
    if (slot.generation == generation && slot.state == SlotState::starting) {
        slot.state = SlotState::free;
        ++slot.generation;
    }
}

bool attach_slot(int index, std::uint32_t generation) {
    if (shared == nullptr || index < 0 || index >= shared->slot_count) return false;
    Slot& slot = shared->slots[index];
    {
        Locked guard(shared->lock);
        if (slot.state != SlotState::starting || slot.generation != generation) return false;
        Locked ring_guard(slot.lock);
        slot.pid = MyProcPid;
        slot.proc = my_proc_index();
        slot.head = slot.tail = 0;  // hints for an earlier life: the first sweep finds those rows
        slot.overflowed = false;
        pg_atomic_write_u32(&slot.active, 0);
        pg_atomic_write_u32(&slot.in_flight, 0);
        for (auto& c : slot.counters) pg_atomic_write_u64(&c, 0);
        slot.state = SlotState::running;
    }
    mine = &slot;
    mine_info.database = slot.database;
    mine_info.worker = slot.worker;
    mine_info.workers = slot.workers;
    mine_info.pid = slot.pid;
    pg::call([] { before_shmem_exit(release_slot, Datum{0}); });
    return true;
}

const SlotInfo& my_slot() { return mine_info; }

void set_serving() {
    int launcher = -1;
    {
        Locked guard(shared->lock);
        mine->serving = true;
        if (shared->launcher_pid != 0) launcher = shared->launcher_proc;
    }
    if (launcher >= 0) wake(launcher);
}

void set_leaving(Leaving reason) {
    Locked guard(shared->lock);
    mine->leaving = reason;
}

bool take_announced(std::vector<Announced>& all, std::size_t max) {
    // Copied out in pieces: nothing allocates while the spinlock is held.
    static std::array<Hint, 256> piece;
    bool overflowed = false;
    while (all.size() < max) {
        std::size_t n = 0;
        {
            Locked guard(mine->lock);
            const std::size_t waiting = mine->tail - mine->head;
            n = std::min({waiting, piece.size(), max - all.size()});
            for (std::size_t i = 0; i < n; ++i) {
                const Hint& hint = mine->ring[mine->head++ % ring_size];
                piece[i].wish = hint.wish;
                piece[i].size = hint.size;
                std::memcpy(piece[i].gid, hint.gid, hint.size);
            }
            overflowed |= mine->overflowed;
            mine->overflowed = false;
        }
        for (std::size_t i = 0; i < n; ++i) {
            all.push_back({std::string(piece[i].gid, piece[i].size), piece[i].wish});
        }
        if (n < piece.size()) break;
    }
    return overflowed;
}

bool anything_announced() {
    Locked guard(mine->lock);
    return mine->tail != mine->head || mine->overflowed;
}

Start server_start() { return shared == nullptr ? Start{} : shared->start; }

void announce_control(Oid database) noexcept {
    if (shared == nullptr) return;
    for (int i = 0; i < shared->slot_count; ++i) {
        Slot& slot = shared->slots[i];
        // Read without the lock, as in announce(): who comes just now reads the orders anyway.
        if (slot.state == SlotState::free || slot.database != database) continue;
        pg_atomic_write_u32(&slot.control_changed, 1);
        if (slot.state == SlotState::running) wake(slot.proc);
    }
}

bool control_changed() {
    return mine != nullptr && pg_atomic_read_u32(&mine->control_changed) != 0;
}

bool take_control_changed() {
    return mine != nullptr && pg_atomic_exchange_u32(&mine->control_changed, 0) != 0;
}

int my_slot_index() { return mine == nullptr ? -1 : static_cast<int>(mine - shared->slots); }

void count(Counter counter, std::uint64_t n) {
    if (mine == nullptr || n == 0) return;
    // Only the owner writes its counters, so a plain read-modify-write would do; fetch_add is as
    // cheap.
    pg_atomic_fetch_add_u64(&mine->counters[static_cast<int>(counter)],
                            static_cast<std::int64_t>(n));
}

void set_gauges(std::uint32_t active, std::uint32_t in_flight) {
    pg_atomic_write_u32(&mine->active, active);
    pg_atomic_write_u32(&mine->in_flight, in_flight);
}

}  // namespace dtm::hub
