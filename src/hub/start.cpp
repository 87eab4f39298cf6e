// See start.hpp.
#include "hub/start.hpp"

#include "pg/time.hpp"

#include <sys/stat.h>
#include <chrono>

namespace dtm::hub {
namespace {

bool exists(const char* file) {
    struct stat found;
    return stat(file, &found) == 0;
}

// Recovery from a backup leaves this file behind, with the time at which the backup was unpacked:
// it tells of starts that nobody saw, in single-user mode or without our library.
TimestampTz recovered_before() {
    struct stat found;
    if (stat("backup_label.old", &found) != 0) return 0;
    const auto since_epoch = std::chrono::seconds{found.st_mtim.tv_sec} +
                             std::chrono::microseconds{found.st_mtim.tv_nsec / 1000};
    return pg::to_timestamptz(pg::UnixTime{since_epoch});
}

}  // namespace

Start how_the_server_starts() {
    if (exists("standby.signal")) return {true, 0};
    return {false, exists("backup_label") ? GetCurrentTimestamp() : recovered_before()};
}

}  // namespace dtm::hub
