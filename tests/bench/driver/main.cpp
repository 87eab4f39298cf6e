// Load for any server that speaks dtm's HTTP API, and the participant that its branches call, in
// one process. Prints one JSON object for each case; see README.md for what it says.
//
//     driver --host 127.0.0.1 --port 36789 [--path /api/dtmsvr] --workload saga-2 --clients 8 …
#include "driver/ledger.hpp"
#include "driver/load.hpp"
#include "driver/outcome.hpp"
#include "driver/workload.hpp"
#include "participant.hpp"

#include <pthread.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace driver {

namespace {

constexpr const char* usage =
    "usage: driver --port PORT [options]\n"
    "  --host HOST           of the server, default 127.0.0.1\n"
    "  --port PORT           of the server\n"
    "  --path PATH           where its API begins, default /api/dtmsvr\n"
    "  --workload NAME       saga-N, msg-N or tcc-N with N branches, default saga-2\n"
    "  --wait-result 1       submits with wait_result, default 0\n"
    "  --clients N           that send at the same time, default 8\n"
    "  --seconds S           after the warm-up, default 5, at most 600\n"
    "  --warmup S            that is not measured, default 1\n"
    "  --rate N              transactions a second, at random times; default 0: as many as go\n"
    "  --timeout S           for the answer to one request, default 30\n"
    "  --drain S             that unfinished transactions are waited for, default 60\n"
    "  --sample N            transactions whose status is asked for at the end, default 50\n"
    "  --stdin 1             one case for each line that comes, with the options on it\n"
    "  --echo-host ADDRESS   IPv4 address where the participant listens, default 127.0.0.1\n"
    "  --echo-port PORT      and its port, default 29870\n";

std::string plain(double number) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", number);
    return text;
}

class Flags {
public:
    void set(const std::vector<std::string>& words) {
        for (std::size_t i = 0; i < words.size(); i += 2) {
            const auto known = values_.find(words[i]);
            if (known == values_.end()) throw std::runtime_error("unknown option " + words[i]);
            if (i + 1 == words.size()) throw std::runtime_error(words[i] + " needs a value");
            known->second = words[i + 1];
        }
    }
    const std::string& text(const char* name) const { return values_.at(name); }
    double number(const char* name, double low, double high) const {
        const auto& value = text(name);
        char* end = nullptr;
        const double found = std::strtod(value.c_str(), &end);
        if (value.empty() || *end != '\0' || !(found >= low && found <= high))
            throw std::runtime_error(std::string(name) + " " + (value.empty() ? "(none)" : value) +
                                     ": a number from " + plain(low) + " to " + plain(high) +
                                     " is needed");
        return found;
    }

private:
    std::map<std::string, std::string> values_ = {
        {"--host", "127.0.0.1"},   {"--port", ""},
        {"--path", "/api/dtmsvr"}, {"--workload", "saga-2"},
        {"--wait-result", "0"},    {"--clients", "8"},
        {"--seconds", "5"},        {"--warmup", "1"},
        {"--rate", "0"},           {"--timeout", "30"},
        {"--drain", "60"},         {"--sample", "50"},
        {"--stdin", "0"},          {"--echo-host", "127.0.0.1"},
        {"--echo-port", "29870"}};
};

// No transaction of an earlier run, of any machine, has these five in its gid.
std::string new_run() {
    constexpr std::string_view letters = "23456789abcdefghijkmnpqrstuvwxyz";
    std::random_device random;
    std::string run;
    for (int i = 0; i < 5; ++i) run += letters[random() % letters.size()];
    return run;
}

// The participant in its thread. It lives longer than a case, because servers keep connections.
class Echo {
public:
    explicit Echo(const Place& place)
        : participant_(place.host, place.port, [this](auto line) { seen(line); }),
          thread_([this] { participant_.run(); }) {}
    ~Echo() { participant_.stop(); }  // before the thread is joined

    // Whose calls are counted from now on; null: nobody's.
    void count_for(Ledger* ledger) {
        const std::lock_guard lock(mutex_);
        ledger_ = ledger;
    }

    Nanos cpu() {
        clockid_t clock{};
        pthread_getcpuclockid(thread_.native_handle(), &clock);
        return read_clock(clock);
    }

private:
    void seen(std::string_view request_line) {
        const std::lock_guard lock(mutex_);
        if (ledger_ != nullptr) ledger_->arrived(request_line);
    }

    std::mutex mutex_;
    Ledger* ledger_ = nullptr;
    Participant participant_;
    std::jthread thread_;
};

Target target_of(const Flags& flags) {
    Target target;
    target.server = {flags.text("--host"), static_cast<int>(flags.number("--port", 1, 65535))};
    target.path = flags.text("--path");
    target.participant = {flags.text("--echo-host"),
                          static_cast<int>(flags.number("--echo-port", 1, 65535))};
    return target;
}

double seconds(Nanos time) { return static_cast<double>(time) / per_second; }

// One case; returns its figures.
std::string run(const Flags& flags, Echo& echo) {
    const auto target = target_of(flags);
    const bool wait = flags.number("--wait-result", 0, 1) != 0;
    auto workload = make_workload(flags.text("--workload"), wait, target);
    Plan plan;
    plan.clients = static_cast<unsigned>(flags.number("--clients", 1, 10000));
    plan.seconds = flags.number("--seconds", 0.1, 600);
    plan.warmup = flags.number("--warmup", 0, 600);
    plan.rate = flags.number("--rate", 0, 1e6);
    plan.timeout = flags.number("--timeout", 0.1, 3600);
    const auto sample = static_cast<unsigned>(flags.number("--sample", 0, 10000));
    const auto longest = static_cast<Nanos>(flags.number("--drain", 0, 3600) * per_second);

    // What one thread can send.
    const auto most = static_cast<std::uint32_t>((plan.seconds + plan.warmup) * 100000) + 1000;
    Ledger ledger(new_run(), workload.trans_type, workload.branches, most);
    struct Counting {
        Echo& echo;
        Counting(Echo& to, Ledger& ledger) : echo(to) { echo.count_for(&ledger); }
        ~Counting() { echo.count_for(nullptr); }
    };
    std::optional<Counting> counting(std::in_place, echo, ledger);
    const Nanos load_before = cpu(), echo_before = echo.cpu();
    Load load(workload, target, ledger, plan);
    load.run();
    const Nanos load_cpu = cpu() - load_before;
    Outcome outcome(workload, ledger, load);
    outcome.drain(longest);
    outcome.check(target, sample, longest);
    counting.reset();

    char more[512];
    std::snprintf(more, sizeof more,
                  "\"workload\": \"%s\", \"wait_result\": %s, \"clients\": %u, \"rate\": %g, "
                  "\"cpu_s\": {\"driver\": %.2f, \"echo\": %.2f}, ",
                  workload.name.c_str(), wait ? "true" : "false", plan.clients, plan.rate,
                  seconds(load_cpu), seconds(echo.cpu() - echo_before));
    return outcome.json(more, ledger.calls());
}

void run_all(Flags flags) {
    Echo echo(target_of(flags).participant);
    if (flags.number("--stdin", 0, 1) == 0) {
        std::puts(run(flags, echo).c_str());
        return;
    }
    for (std::string line; std::getline(std::cin, line);) {
        Flags more = flags;
        std::istringstream words(line);
        more.set({std::istream_iterator<std::string>(words), {}});
        std::puts(run(more, echo).c_str());
        std::fflush(stdout);
    }
}

}  // namespace

}  // namespace driver

int main(int argc, char** argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        driver::Flags flags;
        flags.set({argv + 1, argv + argc});
        driver::run_all(flags);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "driver: %s\n", e.what());
        if (argc < 2) std::fputs(driver::usage, stderr);
        return 1;
    }
}
