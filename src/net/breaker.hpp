// The circuit breaker of one host: after so many calls in a row without any answer nobody else is
// sent there, but for one probe from time to time. Pure arithmetic: knows no socket and no clock of
// its own. What it keeps back is not lost; its owner tries it again later (P8).
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace dtm::net {

class Breaker {
public:
    using Time = std::chrono::steady_clock::time_point;
    // Which probe a call is; 0: none. Never used again, so that a late one is told from the latest.
    using Probe = std::uint32_t;
    struct Settings {
        std::uint32_t errors = 10;                 // in a row, that open it; 0: it never opens
        std::chrono::milliseconds longest{60000};  // between two probes
    };
    enum class State : std::uint8_t { closed, open, half_open };

    // A probe is under way, or due, when it is half open.
    State state(Time now) const;
    bool is_open() const { return open_; }
    bool admits(Time now) const { return !open_ || now >= next_; }
    // How long a call that is not admitted should stay away.
    std::chrono::milliseconds retry_after(Time now) const;

    Probe started(Time now, const Settings& settings);
    // The host answered, whatever it said and whom: it lives.
    void answered();
    // No answer came.
    void failed(Time now, Probe probe, const Settings& settings);
    // What was started never got as far as the network.
    void abandoned(Time now, Probe probe);
    // Somebody knows better: the next call is a probe.
    void probe_now(Time now);

    std::uint32_t errors_in_a_row() const { return errors_; }

private:
    static constexpr std::chrono::milliseconds first_pause{1000};
    // A probe may take as long as its call's own timeout, an hour, and the host be back since a
    // minute: without an answer for so long it counts as failed, and another one may go.
    static constexpr std::chrono::milliseconds longest_probe{5000};

    void lengthen_pause(const Settings& settings);

    std::uint32_t errors_ = 0;
    Probe probes_ = 0;  // the latest
    bool open_ = false;
    bool probing_ = false;
    std::chrono::milliseconds pause_{0};
    Time probe_since_{};
    Time next_{};  // when a probe is admitted
};

// "closed", "open", "half_open"
std::string_view to_string(Breaker::State);

}  // namespace dtm::net
