// The one clock of the driver: monotonic nanoseconds, the same for all threads.
#pragma once

#include <cstdint>
#include <ctime>

namespace driver {

using Nanos = std::int64_t;
constexpr Nanos per_ms = 1'000'000, per_second = 1'000'000'000;

inline Nanos read_clock(clockid_t clock) {
    timespec t{};
    clock_gettime(clock, &t);
    return t.tv_sec * per_second + t.tv_nsec;
}

inline Nanos now() { return read_clock(CLOCK_MONOTONIC); }
// CPU time of the calling thread.
inline Nanos cpu() { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace driver
