// What sessions, the launcher and the coordinators of one cluster have in common: shared memory
// with a slot per coordinator (its ring of new gids, its counters), the launcher's inbox and
// condition variables for dtm_wait. Everything in it is a hint: the tables are the truth, and a
// server that loses this memory (crash restart) or never had it (no preload) loses time, not
// transactions. No pointers and no file descriptors are kept in it.
#pragma once

#include "hub/start.hpp"
#include "pg/postgres.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::hub {

enum class Counter : int {
    taken_from_ring,  // transactions a session told about
    taken_by_sweep,   // transactions found by the sweep
    ring_overflows,   // hints that found the ring full
    calls,            // branch calls released
    answers_success,
    answers_failure,
    answers_ongoing,
    answers_error,
    settles,           // settle transactions committed
    settled_rows,      // rows written by them
    settle_conflicts,  // rows that somebody else had changed
    succeeded,         // transactions that reached succeed
    failed,            // transactions that reached failed
    attention,         // transactions put aside
    alerts,
    count
};

struct SlotInfo {  // one row of dtm.stat_coordinator
    Oid database = InvalidOid;
    int worker = 0;
    int workers = 0;
    int pid = 0;  // 0: starting
    TimestampTz started = 0;
    std::uint32_t active = 0;     // transactions in memory
    std::uint32_t in_flight = 0;  // calls
    std::uint32_t ring = 0;       // hints waiting
    std::uint64_t counters[static_cast<int>(Counter::count)] = {};
};

enum class SlotState : std::uint8_t { free, starting, running };
// How a coordinator left; read by the launcher.
enum class Leaving : std::uint8_t { unknown, no_extension, database_busy, reconfigured };

// In _PG_init under shared_preload_libraries: asks for the memory.
void request_shared_memory();
// False in a server that did not preload the library.
bool shared_memory_present();

// What a session wants of the coordinator that it tells about a gid.
enum class Wish : std::uint8_t {
    look,   // at the row, which has changed
    hurry,  // as look; and what waits for a retry, beside calls in flight, is due now
};
struct Announced {
    std::string gid;
    Wish wish = Wish::look;
};

// --- sessions ---------------------------------------------------------------------------------
// Tells the coordinator that owns `gid` in this database to look at its row, or the launcher that
// the database has none. Never fails, never blocks; does nothing when nobody listens. Call it after
// the commit.
void announce(std::string_view gid, Wish wish = Wish::look) noexcept;
// Wakes the launcher to look at a database (its extension came or went). noexcept for callbacks.
void announce_database(Oid database) noexcept;
// Tells the coordinators of a database that an operator changed dtm.control or dtm.identity.
void announce_control(Oid database) noexcept;
// Which slice of `workers` a gid belongs to.
int slice_of(std::string_view gid, int workers);

// Waits until somebody finishes a transaction of gid's bucket or `timeout_ms` is over. Without
// shared memory it just sleeps for at most 100 ms. Interruptible; may throw PgError.
//     Waiter waiter(gid);
//     while (!finished()) waiter.wait(1000);
// What ends between a look and the wait after it is not missed, whatever the look does.
class Waiter {
public:
    explicit Waiter(std::string_view gid);
    ~Waiter();
    void wait(long timeout_ms);

private:
    int bucket_;
    std::uint32_t seen_ = 0;  // the bucket's count before the last look
};
void announce_finished(std::string_view gid) noexcept;

std::vector<SlotInfo> slots();
int launcher_pid();
Start server_start();

// --- launcher ---------------------------------------------------------------------------------
void launcher_attach();  // registers this process as the launcher until it exits
// Databases announced since the last call; nullopt: the inbox overflowed, look at all.
std::optional<std::vector<Oid>> take_announced_databases();
// Reserves a free slot for (database, worker); returns its index or -1. `generation` goes to the
// worker's arguments, so that a late starter does not take a slot that was given away.
int reserve_slot(Oid database, int worker, int workers, std::uint32_t& generation);
struct SlotView {
    SlotState state = SlotState::free;
    Oid database = InvalidOid;
    int worker = 0, workers = 0, pid = 0;
    std::uint32_t generation = 0;
    TimestampTz since = 0;
    bool serving = false;  // it has found the extension; before, it is a probe
    Leaving leaving = Leaving::unknown;
};
std::vector<SlotView> view_slots();
void free_slot(int slot, std::uint32_t generation);

// --- coordinator ------------------------------------------------------------------------------
// Takes the reserved slot; false when it was given away. Registers the release at exit.
bool attach_slot(int slot, std::uint32_t generation);
const SlotInfo& my_slot();  // database, worker, workers
void set_serving();         // the extension is there; wakes the launcher
void set_leaving(Leaving reason);
// Moves what was announced to `all`; returns true when some was lost (ring overflow).
bool take_announced(std::vector<Announced>& all, std::size_t max);
bool anything_announced();
bool control_changed();  // since the last take_control_changed()
bool take_control_changed();
int my_slot_index();
void count(Counter counter, std::uint64_t n = 1);
void set_gauges(std::uint32_t active, std::uint32_t in_flight);

}  // namespace dtm::hub
