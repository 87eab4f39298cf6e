#include "net/host_queues.hpp"

#include "net/host_key.hpp"

#include <algorithm>
#include <tuple>

namespace dtm::net {

namespace {

// Each that comes back in vain costs a write of its row: so many of one host, and no more.
constexpr std::chrono::microseconds slot_width{500};

// A host keeps up when it has answered somebody a moment ago, and nobody waits for longer than
// this. What piles up in a second on the fastest host is no reason to send anything back.
constexpr std::chrono::seconds silence{1};
constexpr std::chrono::seconds longest_queue{3};

constexpr std::chrono::milliseconds shed_interval{100};

// Ranges in order, none within another: what contains an id is the last one that begins before it.
void put_in_order(std::vector<IdRange>& ids) {
    std::ranges::sort(ids, {}, &IdRange::first);
    std::size_t kept = 0;
    for (const IdRange& range : ids) {
        if (kept > 0 && range.first <= ids[kept - 1].last) {
            ids[kept - 1].last = std::max(ids[kept - 1].last, range.last);
        } else {
            ids[kept++] = range;
        }
    }
    ids.resize(kept);
}

}  // namespace

void HostQueues::set_limits(std::uint32_t max_in_flight, std::uint32_t max_per_host) {
    max_in_flight_ = std::max<std::uint32_t>(max_in_flight, 1);
    max_per_host_ = std::max<std::uint32_t>(max_per_host, 1);
    // The last eighth of all places is for hosts that have none: however many dead hosts sit on the
    // others until their timeouts, a live one can always have one call in flight.
    reserve_ = max_in_flight_ / 8;
    for (auto& [key, host] : hosts_) give_turn(host);
}

void HostQueues::set_room(std::uint32_t max_held, std::size_t max_bytes) {
    max_held_ = max_held;
    max_bytes_ = max_bytes;
}

bool HostQueues::may_start(const Host& host) const {
    return in_flight_ < (host.in_flight == 0 ? max_in_flight_ : max_in_flight_ - reserve_);
}

void HostQueues::give_turn(Host& host) {
    if (host.in_turn || host.nobody_waits() || host.in_flight >= most_in_flight_of_one()) return;
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
    if (host.calls() == 0) host.last_move = now;
    host.bytes += call.bytes;
    bytes_ += call.bytes;
    ++waiting_;
    (call.urgent || call.probe ? host.urgent : host.waiting).push_back({std::move(call), now});
    offer(host, now);
    make_room(host, now);
    rest_if_idle(host);
}

Reply& HostQueues::defer(Host& host, const Call& call, Breaker::Time until, Breaker::Time now) {
    ++host.seen.deferred;
    no_longer_waits(host, call);
    Reply& reply = returned_.emplace_back();
    reply.id = call.id;
    reply.deferred = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    return reply;
}

void HostQueues::no_longer_waits(Host& host, const Call& call) {
    --waiting_;
    host.bytes -= call.bytes;
    bytes_ -= call.bytes;
}

void HostQueues::defer_all(Host& host, Breaker::Time now) {
    const Breaker::Time soonest = now + host.breaker.retry_after(now);
    const Outage outage{host.outage, host.key, host.breaker.errors_in_a_row(),
                        host.seen.last_error};
    const std::string why = "the circuit breaker of " + host.key + " is open after " +
                            std::to_string(outage.errors_in_a_row) +
                            (outage.errors_in_a_row == 1 ? " error" : " errors in a row") +
                            ", the last: " + outage.last_error;
    for (std::deque<Waiting>* queue : {&host.urgent, &host.waiting}) {
        for (const auto& [call, since] : *queue) {
            host.next_slot = std::max(soonest, host.next_slot + slot_width);
            Reply& reply = defer(host, call, host.next_slot, now);
            reply.error = why;
            reply.outage = outage;
        }
        queue->clear();
    }
    take_turn(host);
}

// ---- slow hosts ---------------------------------------------------------------------------------

// However fast it was until now: when it stops answering, what is in flight cannot be taken back.
std::uint32_t HostQueues::most_in_flight_of_one() const {
    return std::min(max_per_host_, std::max<std::uint32_t>(max_held_ / 2, 1));
}

bool HostQueues::fits(const Host& host) const {
    if (host.calls() <= 1) return true;
    const std::size_t free_calls = max_held_ - std::min(held(), max_held_);
    const std::size_t free_bytes = max_bytes_ - std::min(bytes_, max_bytes_);
    return host.calls() <= free_calls / 2 && host.bytes <= free_bytes / 2;
}

// By the time of its answers; or, if some of its calls hang and only some places are left for the
// others, by the one that waits for longest.
std::chrono::microseconds HostQueues::queue_time(const Host& host, Breaker::Time now) const {
    auto time =
        host.seen.mean_elapsed * static_cast<std::int64_t>(host.calls()) / most_in_flight_of_one();
    for (const std::deque<Waiting>* queue : {&host.urgent, &host.waiting}) {
        if (queue->empty()) continue;
        time = std::max(time, std::chrono::duration_cast<std::chrono::microseconds>(
                                  now - queue->front().since));
    }
    return time;
}

bool HostQueues::keeps_up(const Host& host, Breaker::Time now) const {
    return now - host.last_answer < silence && queue_time(host, now) < longest_queue;
}

// When its queue will be half as long; or, if nothing moves, as long as nothing has.
std::chrono::milliseconds HostQueues::retry_when_slow(const Host& host, Breaker::Time now) const {
    using std::chrono::milliseconds;
    const auto wait = std::max(std::chrono::ceil<milliseconds>(queue_time(host, now) / 2),
                               std::chrono::ceil<milliseconds>(now - host.last_move));
    const milliseconds shortest{1000};
    return std::clamp(wait, shortest, std::max(shortest, breaker_.longest));
}

void HostQueues::make_room(Host& host, Breaker::Time now) {
    if (host.nobody_waits() || fits(host) || keeps_up(host, now)) return;
    const Breaker::Time soonest = now + retry_when_slow(host, now);
    const std::string why = "too many calls wait for " + host.key + " already, which is slow";
    while (!host.nobody_waits() && !fits(host)) {
        std::deque<Waiting>& queue = host.waiting.empty() ? host.urgent : host.waiting;
        host.next_place = std::max(soonest, host.next_place + slot_width);
        defer(host, queue.back().call, host.next_place, now).error = why;
        queue.pop_back();
    }
    if (host.nobody_waits()) take_turn(host);
}

void HostQueues::shed(Breaker::Time now) {
    if (!crowded() || now < next_shed_) return;
    next_shed_ = now + shed_interval;
    for (auto& [key, host] : hosts_) make_room(host, now);
}

// ---- the life of a call -------------------------------------------------------------------------

std::optional<HostQueues::Next> HostQueues::take(Breaker::Time now) {
    if (waiting_ == 0 || in_flight_ >= max_in_flight_) return std::nullopt;
    // Hosts that only the reserve keeps out stay in the list, in order. A look at each is bounded
    // by the number of hosts, and happens only when seven eighths of the places are taken.
    for (auto following = turns_.begin(); following != turns_.end();) {
        const auto turn = following++;
        Host& host = **turn;
        if (host.in_flight >= most_in_flight_of_one()) {  // the limit was lowered
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
        std::deque<Waiting>& queue = host.urgent.empty() ? host.waiting : host.urgent;
        Next next{std::move(queue.front().call), {&host, host.breaker.started(now, breaker_)}};
        next.place.bytes = next.call.bytes;
        queue.pop_front();
        --waiting_;
        ++host.in_flight;
        ++in_flight_;
        offer(host, now);  // at the end: the others come first
        return next;
    }
    return std::nullopt;
}

void HostQueues::release(Place place, Breaker::Time now) {
    Host& host = *place.host;
    --host.in_flight;
    --in_flight_;
    host.bytes -= place.bytes;
    bytes_ -= place.bytes;
    host.last_move = now;
    // With the breaker shut those are told, too, that have no turn because all places are taken.
    offer(host, now);
    rest_if_idle(host);
}

void HostQueues::given_up(Place place, Breaker::Time now) {
    place.host->breaker.abandoned(now, place.probe);
    release(place, now);
}

void HostQueues::put_back(Place place, Call call, Breaker::Time now) {
    Host& host = *place.host;
    host.bytes += call.bytes;
    bytes_ += call.bytes;
    ++waiting_;
    (call.urgent || call.probe ? host.urgent : host.waiting).push_front({std::move(call), now});
    given_up(place, now);
}

void HostQueues::finished(Place place, const Reply& reply, Breaker::Time now) {
    Host& host = *place.host;
    Endpoint& seen = host.seen;
    ++seen.calls;
    if (reply.status != 0) {
        host.breaker.answered();
        host.next_slot = {};
        host.last_answer = now;
        const bool first = seen.calls == seen.errors + 1;
        seen.mean_elapsed = first ? reply.elapsed : (seen.mean_elapsed * 15 + reply.elapsed) / 16;
    } else {
        ++seen.errors;
        seen.last_error = reply.error;
        const bool was_open = host.breaker.is_open();
        host.breaker.failed(now, place.probe, breaker_);
        if (!was_open && host.breaker.is_open()) host.outage = ++outages_;
    }
    release(place, now);
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

void HostQueues::recall(std::vector<IdRange> ids) {
    if (ids.empty() || waiting_ == 0) return;
    put_in_order(ids);
    const auto is_recalled = [&](std::uint64_t id) {
        const auto behind = std::ranges::upper_bound(ids, id, {}, &IdRange::first);
        return behind != ids.begin() && id <= std::prev(behind)->last;
    };
    std::vector<Host*> emptied;
    for (auto& entry : hosts_) {
        Host& host = entry.second;
        if (host.nobody_waits()) continue;
        for (std::deque<Waiting>* queue : {&host.urgent, &host.waiting}) {
            std::erase_if(*queue, [&](const Waiting& w) {
                if (!is_recalled(w.call.id)) return false;
                Reply reply;
                reply.id = w.call.id;
                reply.recalled = true;
                reply.probe = w.call.probe;
                returned_.push_back(std::move(reply));
                no_longer_waits(host, w.call);
                return true;
            });
        }
        if (host.nobody_waits()) emptied.push_back(&host);
    }
    for (Host* host : emptied) {
        take_turn(*host);
        rest_if_idle(*host);
    }
}

void HostQueues::take_returned(std::vector<Reply>& replies) {
    for (Reply& reply : returned_) replies.push_back(std::move(reply));
    returned_.clear();
}

std::vector<Endpoint> HostQueues::endpoints(Breaker::Time now) const {
    std::vector<Endpoint> all;
    all.reserve(hosts_.size());
    for (const auto& [key, host] : hosts_) {
        Endpoint e = host.seen;
        e.key = key;
        e.breaker = host.breaker.state(now);
        e.in_flight = host.in_flight;
        e.waiting = static_cast<std::uint32_t>(host.urgent.size() + host.waiting.size());
        e.errors_in_a_row = host.breaker.errors_in_a_row();
        if (e.breaker != Breaker::State::closed) e.next_probe = host.breaker.retry_after(now);
        all.push_back(std::move(e));
    }
    const auto importance = [](const Endpoint& e) {
        return std::tuple(e.breaker == Breaker::State::closed, e.errors_in_a_row == 0,
                          e.in_flight + e.waiting == 0, std::string_view(e.key));
    };
    std::ranges::sort(all, {}, importance);
    return all;
}

}  // namespace dtm::net
