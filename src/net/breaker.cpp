#include "net/breaker.hpp"

#include <algorithm>

namespace dtm::net {

std::string_view to_string(Breaker::State state) {
    switch (state) {
        case Breaker::State::closed:
            return "closed";
        case Breaker::State::open:
            return "open";
        case Breaker::State::half_open:
            break;
    }
    return "half_open";
}

Breaker::State Breaker::state(Time now) const {
    if (!open_) return State::closed;
    return probing_ || now >= next_ ? State::half_open : State::open;
}

std::chrono::milliseconds Breaker::retry_after(Time now) const {
    // While a probe is under way nobody knows how long it takes. To ask for it every second would
    // cost a thousand transactions a thousand rows written each time.
    if (probing_) return std::min(pause_, longest_probe);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_ - now);
    return std::max(left, std::chrono::milliseconds{1});
}

void Breaker::lengthen_pause(const Settings& settings) {
    pause_ = std::min(open_ ? pause_ * 2 : first_pause, settings.longest);
}

Breaker::Probe Breaker::started(Time now, const Settings& settings) {
    if (!open_) return 0;
    if (probing_) lengthen_pause(settings);  // the one before has failed, whatever comes of it
    probing_ = true;
    probe_since_ = now;
    next_ = now + std::max(pause_, longest_probe);
    return ++probes_;
}

void Breaker::answered() {
    const Probe latest = probes_;
    *this = Breaker();
    probes_ = latest;
}

void Breaker::failed(Time now, Probe probe, const Settings& settings) {
    ++errors_;
    if (settings.errors == 0) {  // turned off, perhaps while it was open
        open_ = probing_ = false;
        return;
    }
    if (!open_ && errors_ < settings.errors) return;
    // Calls that were under way when it opened fail, too, and so do probes that were given up; only
    // the failure of the latest probe counts anew.
    if (open_ && !(probing_ && probe == probes_)) return;
    lengthen_pause(settings);
    open_ = true;
    probing_ = false;
    next_ = now + pause_;
}

void Breaker::abandoned(Time now, Probe probe) {
    if (!probing_ || probe != probes_) return;
    probing_ = false;
    next_ = now;
}

void Breaker::probe_now(Time now) {
    if (!open_ || (probing_ && now < probe_since_ + longest_probe)) return;
    next_ = std::min(next_, now);
}

}  // namespace dtm::net
