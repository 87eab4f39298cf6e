// The participant as a program of its own, for branches that are submitted from SQL.
//
//     echo PORT        (prints "ready" when it listens; ends when its parent does)
#include "participant.hpp"

#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: echo PORT\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        Participant participant("127.0.0.1", std::atoi(argv[1]));
        std::puts("ready");
        std::fflush(stdout);
        participant.run();
    } catch (const std::exception& e) {
        std::fprintf(stderr, "echo: %s\n", e.what());
        return 1;
    }
}
