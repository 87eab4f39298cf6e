// See endpoints.hpp. One writer per slot and any number of readers: a counter that is odd while the
// writer is at work, as PostgreSQL does it for pg_stat_activity.
#include "hub/endpoints.hpp"

#include "hub/fixed_text.hpp"
#include "hub/settings.hpp"
#include "hub/shared.hpp"
#include "pg/call.hpp"

#include <algorithm>
#include <cstring>

extern "C" {
#include "port/atomics.h"
#include "storage/shmem.h"
}

namespace dtm::hub {
namespace {

struct Row {
    char endpoint[256];
    char breaker[12];
    char last_error[128];
    std::uint32_t in_flight, waiting, errors_in_a_row;
    std::uint64_t calls, errors, deferred;
    std::int64_t next_probe_ms, mean_us;
};

struct Board {
    pg_atomic_uint32 change;
    Oid database;
    int worker;
    std::uint32_t count;
    Row rows[max_endpoints];
};

Board* boards = nullptr;

void fill(Row& row, const EndpointInfo& e) {
    put(row.endpoint, e.endpoint);
    put(row.breaker, e.breaker);
    put(row.last_error, e.last_error);
    row.in_flight = e.in_flight;
    row.waiting = e.waiting;
    row.errors_in_a_row = e.errors_in_a_row;
    row.calls = e.calls;
    row.errors = e.errors;
    row.deferred = e.deferred;
    row.next_probe_ms = e.next_probe_ms;
    row.mean_us = e.mean_us;
}

EndpointInfo info_of(const Board& board, const Row& row) {
    EndpointInfo e;
    e.database = board.database;
    e.worker = board.worker;
    e.endpoint = row.endpoint;
    e.breaker = row.breaker;
    e.last_error = row.last_error;
    e.in_flight = row.in_flight;
    e.waiting = row.waiting;
    e.errors_in_a_row = row.errors_in_a_row;
    e.calls = row.calls;
    e.errors = row.errors;
    e.deferred = row.deferred;
    e.next_probe_ms = row.next_probe_ms;
    e.mean_us = row.mean_us;
    return e;
}

}  // namespace

std::size_t endpoints_size() {
    return sizeof(Board) * static_cast<std::size_t>(settings.max_coordinators);
}

void attach_endpoints() {
    bool found = false;
    boards = static_cast<Board*>(ShmemInitStruct("dtm_pg endpoints", endpoints_size(), &found));
    if (found) return;
    std::memset(static_cast<void*>(boards), 0, endpoints_size());
    for (int i = 0; i < settings.max_coordinators; ++i) pg_atomic_init_u32(&boards[i].change, 0);
}

void publish_endpoints(const std::vector<EndpointInfo>& all) {
    const int slot = my_slot_index();
    if (boards == nullptr || slot < 0) return;
    Board& board = boards[slot];
    pg_atomic_fetch_add_u32(&board.change, 1);  // a full barrier, too
    board.database = my_slot().database;
    board.worker = my_slot().worker;
    board.count = static_cast<std::uint32_t>(std::min(all.size(), max_endpoints));
    for (std::uint32_t i = 0; i < board.count; ++i) fill(board.rows[i], all[i]);
    pg_atomic_fetch_add_u32(&board.change, 1);
}

std::vector<EndpointInfo> endpoints() {
    std::vector<EndpointInfo> all;
    if (boards == nullptr) return all;
    const std::vector<SlotView> slots = view_slots();
    Board copy;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].state != SlotState::running) continue;
        // A writer that died half way leaves an odd number: what it left is passed over.
        for (int attempt = 0; attempt < 1000; ++attempt) {
            const std::uint32_t before = pg_atomic_read_u32(&boards[i].change);
            pg_read_barrier();
            std::memcpy(static_cast<void*>(&copy), &boards[i], sizeof copy);
            pg_read_barrier();
            if (before % 2 != 0 || before != pg_atomic_read_u32(&boards[i].change)) continue;
            // Of an earlier coordinator in this slot.
            if (copy.database != slots[i].database || copy.worker != slots[i].worker) break;
            for (std::uint32_t n = 0; n < copy.count; ++n) {
                all.push_back(info_of(copy, copy.rows[n]));
            }
            break;
        }
    }
    return all;
}

}  // namespace dtm::hub
