// The clocks of a server as a test wants them: clock.py puts this library before libc's. DTM_CLOCK
// names a file with the numbers of Clocks, in microseconds, which a test changes while it runs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

struct Clocks {
    std::atomic<std::int64_t> day;      // added to the time of day
    std::atomic<std::int64_t> stopped;  // the time of day, whatever the time is; 0: it runs
    std::atomic<std::int64_t> steady;   // added to the clock that nobody sets
    std::atomic<std::int64_t> look;     // what that gains with each look at it
};

constexpr std::int64_t million = 1000000;

Clocks* open_clocks() noexcept {
    const char* path = std::getenv("DTM_CLOCK");
    const int file = path == nullptr ? -1 : ::open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return nullptr;
    void* map = ::mmap(nullptr, sizeof(Clocks), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    return map == MAP_FAILED ? nullptr : static_cast<Clocks*>(map);
}

Clocks* const clocks = open_clocks();

bool is_time_of_day(clockid_t id) { return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE; }

bool is_steady(clockid_t id) {
    return id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW ||
           id == CLOCK_BOOTTIME;
}

void set(timespec& at, std::int64_t micros, std::int64_t nanos) {
    at.tv_sec = micros / million;
    at.tv_nsec = micros % million * 1000 + nanos;
}

}  // namespace

extern "C" int clock_gettime(clockid_t id, timespec* at) noexcept {
    const auto failed = static_cast<int>(::syscall(SYS_clock_gettime, id, at));
    if (failed != 0 || clocks == nullptr) return failed;
    const std::int64_t micros = at->tv_sec * million + at->tv_nsec / 1000;
    if (is_time_of_day(id)) {
        const std::int64_t stopped = clocks->stopped;
        set(*at, stopped != 0 ? stopped : micros + clocks->day, 0);
    } else if (is_steady(id)) {
        const std::int64_t gain = clocks->look;
        set(*at, micros + clocks->steady.fetch_add(gain) + gain, at->tv_nsec % 1000);
    }
    return 0;
}

extern "C" int gettimeofday(timeval* at, void* /*zone*/) noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

extern "C" time_t time(time_t* at) noexcept {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != nullptr) *at = now.tv_sec;
    return now.tv_sec;
}
