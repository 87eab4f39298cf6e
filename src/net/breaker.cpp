#include "net/breaker.hpp"

#include <algorithm>

namespace dtm::net {

Breaker::State Breaker::state(Time now) const {
    if (!open_) return State::closed;
    return probing_ || now >= open_until_ ? State::half_open : State::open;
}

bool Breaker::admits(Time now) const { return !open_ || (!probing_ && now >= open_until_); }

std::chrono::milliseconds Breaker::retry_after(Time now) const {
    // While a probe is under way nobody knows how long it takes. To ask for it every second would
    // cost a thousand transactions a thousand rows written each time.
    if (probing_) return std::min(pause_, longest_probe);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(open_until_ - now);
    return std::max(left, std::chrono::milliseconds{1});
}

void Breaker::started(Time) { probing_ = open_; }

void Breaker::answered() { *this = Breaker(); }

void Breaker::failed(Time now, const Settings& settings) {
    ++errors_;
    if (settings.errors == 0) {  // turned off, perhaps while it was open
        open_ = probing_ = false;
        return;
    }
    if (!open_ && errors_ < settings.errors) return;
    // Calls that were under way when it opened fail, too; only a probe's failure counts anew.
    if (open_ && !probing_) return;
    pause_ =
        open_ ? std::min(pause_ * 2, settings.longest) : std::min(first_pause, settings.longest);
    open_ = true;
    probing_ = false;
    open_until_ = now + pause_;
}

void Breaker::probe_now(Time now) {
    if (open_ && !probing_) open_until_ = now;
}

}  // namespace dtm::net
