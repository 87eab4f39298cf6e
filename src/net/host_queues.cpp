#include "net/host_queues.hpp"

#include <algorithm>
#include <tuple>

namespace dtm::net {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Each that comes back in vain costs a write of its row: so many of one host, and no more.
constexpr std::chrono::microseconds slot_width{500};

}  // namespace

std::string host_key(std::string_view url) {
    std::string key;
    const std::size_t scheme_end = url.find("://");
    if (scheme_end == url.npos) return key;
    std::string_view authority = url.substr(scheme_end + 3);
    authority = authority.substr(0, authority.find_first_of("/?#"));
    if (const auto at = authority.rfind('@'); at != authority.npos) authority.remove_prefix(at + 1);
    key.reserve(scheme_end + 3 + authority.size() + 4);
    for (const char c : url.substr(0, scheme_end)) key += lower(c);
    const bool tls = key == "https";
    key += "://";
    for (const char c : authority) key += lower(c);
    const std::size_t colon = authority.rfind(':');
    const bool has_port = colon != authority.npos && authority.find(']', colon) == authority.npos;
    if (!has_port) key += ':';
    if (!has_port || colon + 1 == authority.size()) key += tls ? "443" : "80";
    return key;
}

void HostQueues::set_limits(std::uint32_t max_in_flight, std::uint32_t max_per_host) {
    max_in_flight_ = std::max<std::uint32_t>(max_in_flight, 1);
    max_per_host_ = std::max<std::uint32_t>(max_per_host, 1);
    // The last eighth of all places is for hosts that have none: however many dead hosts sit on the
    // others until their timeouts, a live one can always have one call in flight.
    reserve_ = max_in_flight_ / 8;
    for (auto& [key, host] : hosts_) give_turn(host);
}

bool HostQueues::may_start(const Host& host) const {
    return in_flight_ < (host.in_flight == 0 ? max_in_flight_ : max_in_flight_ - reserve_);
}

void HostQueues::give_turn(Host& host) {
    if (host.in_turn || host.nobody_waits() || host.in_flight >= max_per_host_) return;
    turns_.push_back(&host);
    host.in_turn = true;
}

void HostQueues::take_turn(Host& host) {
    if (!host.in_turn) return;
    turns_.remove(&host);
    host.in_turn = false;
}

void HostQueues::offer(Host& host, Breaker::Time now) {
    if (host.nobody_waits()) return;
    if (host.breaker.admits(now)) return give_turn(host);
    defer_all(host, now);
}

void HostQueues::add(Call call, Breaker::Time now) {
    std::string key = host_key(call.url);
    const auto [entry, is_new] = hosts_.try_emplace(std::move(key));
    Host& host = entry->second;
    if (is_new) host.key = entry->first;
    wake(host);
    if (call.probe) host.breaker.probe_now(now);
    (call.urgent ? host.urgent : host.waiting).push_back(std::move(call));
    ++waiting_;
    offer(host, now);
    rest_if_idle(host);
}

void HostQueues::defer_all(Host& host, Breaker::Time now) {
    const Breaker::Time soonest = now + host.breaker.retry_after(now);
    for (std::deque<Call>* queue : {&host.urgent, &host.waiting}) {
        for (const Call& call : *queue) {
            host.next_slot = std::max(soonest, host.next_slot + slot_width);
            deferred_.push_back(
                {call.id, std::chrono::ceil<std::chrono::milliseconds>(host.next_slot - now)});
        }
        host.seen.deferred += queue->size();
        waiting_ -= static_cast<std::uint32_t>(queue->size());
        queue->clear();
    }
    take_turn(host);
}

std::optional<HostQueues::Next> HostQueues::take(Breaker::Time now) {
    if (waiting_ == 0 || in_flight_ >= max_in_flight_) return std::nullopt;
    // Hosts that only the reserve keeps out stay in the list, in order. A look at each is bounded
    // by the number of hosts, and happens only when seven eighths of the places are taken.
    for (auto following = turns_.begin(); following != turns_.end();) {
        const auto turn = following++;
        Host& host = **turn;
        if (host.in_flight >= max_per_host_) {  // the limit was lowered
            host.in_turn = false;
            turns_.erase(turn);
            continue;
        }
        if (!host.breaker.admits(now)) {
            defer_all(host, now);  // takes its turn away, too
            rest_if_idle(host);
            continue;
        }
        if (!may_start(host)) continue;
        turns_.erase(turn);
        host.in_turn = false;
        std::deque<Call>& queue = host.urgent.empty() ? host.waiting : host.urgent;
        Next next{std::move(queue.front()), {&host, host.breaker.started(now, breaker_)}};
        queue.pop_front();
        --waiting_;
        ++host.in_flight;
        ++in_flight_;
        offer(host, now);  // at the end: the others come first
        return next;
    }
    return std::nullopt;
}

void HostQueues::release(Host& host, Breaker::Time now) {
    --host.in_flight;
    --in_flight_;
    // With the breaker shut those are told, too, that have no turn because all places are taken.
    offer(host, now);
    rest_if_idle(host);
}

void HostQueues::given_up(Place place, Breaker::Time now) {
    place.host->breaker.abandoned(now, place.probe);
    release(*place.host, now);
}

void HostQueues::finished(Place place, const Reply& reply, Breaker::Time now) {
    Host& host = *place.host;
    Endpoint& seen = host.seen;
    ++seen.calls;
    if (reply.status != 0) {
        host.breaker.answered();
        host.next_slot = {};
        seen.mean_elapsed =
            seen.calls == 1 ? reply.elapsed : (seen.mean_elapsed * 15 + reply.elapsed) / 16;
    } else {
        ++seen.errors;
        seen.last_error = reply.error;
        host.breaker.failed(now, place.probe, breaker_);
    }
    release(host, now);
}

void HostQueues::wake(Host& host) {
    if (!host.idle_in_trouble) return;
    idle_[*host.idle_in_trouble ? 1 : 0].erase(host.idle_at);
    host.idle_in_trouble.reset();
}

void HostQueues::rest_if_idle(Host& host) {
    if (host.in_flight > 0 || !host.nobody_waits() || host.idle_in_trouble) return;
    // An open breaker has errors, too.
    host.idle_in_trouble = host.breaker.errors_in_a_row() > 0;
    std::list<Host*>& list = idle_[*host.idle_in_trouble ? 1 : 0];
    host.idle_at = list.insert(list.end(), &host);
    forget_idle();
}

void HostQueues::forget_idle() {
    while (idle_[0].size() + idle_[1].size() > max_idle_hosts) {
        std::list<Host*>& list = idle_[idle_[0].empty() ? 1 : 0];
        const auto longest = hosts_.find(list.front()->key);
        list.pop_front();
        hosts_.erase(longest);
    }
}

void HostQueues::take_deferred(std::vector<Reply>& replies) {
    for (const Deferred& d : deferred_) {
        Reply reply;
        reply.id = d.id;
        reply.error = "not called: the circuit breaker of its host is open";
        reply.deferred = d.retry_after;
        replies.push_back(std::move(reply));
    }
    deferred_.clear();
}

std::vector<Endpoint> HostQueues::endpoints(Breaker::Time now) const {
    std::vector<Endpoint> all;
    all.reserve(hosts_.size());
    for (const auto& [key, host] : hosts_) {
        Endpoint e = host.seen;
        e.key = key;
        e.breaker = static_cast<Endpoint::Breaker>(host.breaker.state(now));
        e.in_flight = host.in_flight;
        e.waiting = static_cast<std::uint32_t>(host.urgent.size() + host.waiting.size());
        e.errors_in_a_row = host.breaker.errors_in_a_row();
        if (e.breaker != Endpoint::Breaker::closed) e.next_probe = host.breaker.retry_after(now);
        all.push_back(std::move(e));
    }
    const auto importance = [](const Endpoint& e) {
        return std::tuple(e.breaker == Endpoint::Breaker::closed, e.errors_in_a_row == 0,
                          e.in_flight + e.waiting == 0, std::string_view(e.key));
    };
    std::ranges::sort(all, {}, importance);
    return all;
}

}  // namespace dtm::net
