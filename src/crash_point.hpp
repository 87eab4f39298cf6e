// Named places where a test kills the process: after durable writes and before calls. Nothing of it
// is in a normal build; `make CRASH_POINTS=1` is the tests' (tests/e2e/test_crash_points.py). Every
// room may include this file.
//
// DTM_CRASH_FILE names a file with "<point> <n>": who passes the point for the n-th time from now
// on, in whatever process or thread, empties the file and kills its process; with "<point> <n>
// throw" it throws an exception that is none of PostgreSQL's. DTM_CRASH_SEEN names a log of all
// points passed.
#pragma once

#ifndef DTM_CRASH_POINTS
#define DTM_CRASH_POINT(name) static_cast<void>(0)
#else
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace dtm {

inline void pass_crash_point(const char* name) {
    char line[90];
    const char* seen = std::getenv("DTM_CRASH_SEEN");
    const int log = seen == nullptr ? -1 : ::open(seen, O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (log >= 0) {
        const int length = snprintf(line, sizeof line, "%s\n", name);
        if (::write(log, line, static_cast<std::size_t>(length)) < 0) std::abort();
        ::close(log);
    }
    const char* path = std::getenv("DTM_CRASH_FILE");
    const int file = path == nullptr ? -1 : ::open(path, O_RDWR);
    if (file < 0) return;
    char wanted[80] = "";
    char deed[8] = "";
    int count = 0;
    ::flock(file, LOCK_EX);  // of this open(): other threads wait, too
    const auto read = ::pread(file, line, sizeof line - 1, 0);
    line[read < 0 ? 0 : read] = '\0';
    const bool meant =
        sscanf(line, "%79s %d %7s", wanted, &count, deed) >= 2 && !std::strcmp(wanted, name);
    const bool throws = meant && count <= 1 && deed[0] != '\0';
    if (meant && ::ftruncate(file, 0) == 0 && !throws) {
        if (count <= 1) ::kill(::getpid(), SIGKILL);
        if (::dprintf(file, "%s %d %s", name, count - 1, deed) < 0) std::abort();
    }
    ::close(file);
    if (throws) throw std::runtime_error(std::string("thrown at ") + name);
}

}  // namespace dtm

// PostgreSQL 17's injection points do the same by hand, and wait, and raise errors; its thread
// only.
#define DTM_INJECTION_POINT(name) static_cast<void>(0)
#ifndef DTM_PURE_CPP
#include "pg/call.hpp"
#ifdef USE_INJECTION_POINTS
extern "C" {
#include "utils/injection_point.h"
}
#undef DTM_INJECTION_POINT
#if PG_VERSION_NUM >= 180000
#define DTM_INJECTION_POINT(name) dtm::pg::call([] { INJECTION_POINT("dtm-" name, nullptr); })
#else
#define DTM_INJECTION_POINT(name) dtm::pg::call([] { INJECTION_POINT("dtm-" name); })
#endif
#endif
#endif
#define DTM_CRASH_POINT(name) (dtm::pass_crash_point(name), DTM_INJECTION_POINT(name))
#endif
