// The circuit breaker of one host: after so many calls in a row without any answer nobody else is
// sent there, but for one probe from time to time. Pure arithmetic: knows no socket and no clock of
// its own. What it keeps back is not lost; its owner tries it again later (P8).
#pragma once

#include <chrono>
#include <cstdint>

namespace dtm::net {

class Breaker {
public:
    using Time = std::chrono::steady_clock::time_point;
    struct Settings {
        std::uint32_t errors = 10;                 // in a row, that open it; 0: it never opens
        std::chrono::milliseconds longest{60000};  // between two probes
    };
    enum class State : std::uint8_t { closed, open, half_open };

    // A probe is under way, or due, when it is half open.
    State state(Time now) const;
    bool admits(Time now) const;
    // How long a call that is not admitted should stay away.
    std::chrono::milliseconds retry_after(Time now) const;

    void started(Time now);
    // The host answered, whatever it said: it lives.
    void answered();
    // No answer came.
    void failed(Time now, const Settings& settings);
    // What was started never got as far as the network.
    void abandoned() { probing_ = false; }
    // Somebody knows better: the next call is a probe.
    void probe_now(Time now);

    std::uint32_t errors_in_a_row() const { return errors_; }

private:
    static constexpr std::chrono::milliseconds first_pause{1000};
    static constexpr std::chrono::milliseconds longest_probe{5000};

    std::uint32_t errors_ = 0;
    bool open_ = false;
    bool probing_ = false;
    std::chrono::milliseconds pause_{0};
    Time open_until_{};
};

}  // namespace dtm::net
