// See listener.hpp.
#include "hub/listener.hpp"

#include "hub/fixed_text.hpp"
#include "pg/call.hpp"

#include <cstring>

extern "C" {
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
}

namespace dtm::hub {
namespace {

struct Board {
    slock_t lock;
    int pid;  // 0: nobody
    std::uint32_t connections;
    char listening[128];
    char trouble[256];
};

Board* board = nullptr;

void withdraw(int, Datum) { withdraw_listener(); }

}  // namespace

std::size_t listener_size() { return sizeof(Board); }

void attach_listener() {
    bool found = false;
    board = static_cast<Board*>(ShmemInitStruct("dtm_pg listener", sizeof(Board), &found));
    if (found) return;
    std::memset(static_cast<void*>(board), 0, sizeof(Board));
    SpinLockInit(&board->lock);
}

void publish_listener(const ListenerInfo& info) {
    if (board == nullptr) return;
    static bool registered = false;
    if (!registered) {
        pg::call([] { before_shmem_exit(withdraw, Datum{0}); });
        registered = true;
    }
    SpinLockAcquire(&board->lock);
    board->pid = MyProcPid;
    board->connections = info.connections;
    put(board->listening, info.listening);
    put(board->trouble, info.trouble);
    SpinLockRelease(&board->lock);
}

void withdraw_listener() {
    if (board == nullptr) return;
    SpinLockAcquire(&board->lock);
    if (board->pid == MyProcPid) board->pid = 0;
    SpinLockRelease(&board->lock);
}

std::optional<ListenerInfo> listener() {
    if (board == nullptr) return std::nullopt;
    Board seen;
    SpinLockAcquire(&board->lock);
    std::memcpy(static_cast<void*>(&seen), static_cast<const void*>(board), sizeof seen);
    SpinLockRelease(&board->lock);
    if (seen.pid == 0) return std::nullopt;
    return ListenerInfo{seen.listening, seen.trouble, seen.connections};
}

}  // namespace dtm::hub
