// Who may be called next: calls wait in queues per host, first in, first out, the urgent ones
// before the others, and the hosts take turns. Knows limits and nothing of sockets. It survives a
// host that never answers: such a host fills its own limit and never another host's (P8).
#pragma once

#include "net/breaker.hpp"
#include "net/client.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace dtm::net {

// "http://host:80" of a URL: lower case, without user and password, with the port. Whatever has no
// scheme or no host is a host of its own.
std::string host_key(std::string_view url);

class HostQueues {
public:
    struct Host {
        std::deque<Call> urgent;
        std::deque<Call> waiting;
        std::uint32_t in_flight = 0;
        bool in_turn = false;  // member of turns_
        std::string key;
        Breaker breaker;
        Breaker::Time next_slot{};  // when the last deferred call may come back
        Endpoint seen;              // its counters; the rest is filled in when somebody asks
        // Member of idle_ (in trouble or not), and where.
        std::optional<bool> idle_in_trouble;
        std::list<Host*>::iterator idle_at;
        bool nobody_waits() const { return urgent.empty() && waiting.empty(); }
    };

    // Whose call it is that was started. Valid until finished() or given_up() is told about it.
    struct Place {
        Host* host = nullptr;
        Breaker::Probe probe = 0;
    };

    // A call that may start now.
    struct Next {
        Call call;
        Place place;
    };

    // Hosts that have nothing to do are remembered up to this number, because of their breakers.
    // Above it those go that have been idle for longest, and those without trouble before the
    // others: the breaker of a host that was forgotten begins anew.
    static constexpr std::size_t max_idle_hosts = 4096;

    // A call that is not made: the circuit breaker of its host is open.
    struct Deferred {
        std::uint64_t id;
        std::chrono::milliseconds retry_after;
    };

    void set_limits(std::uint32_t max_in_flight, std::uint32_t max_per_host);
    void set_breaker(Breaker::Settings settings) { breaker_ = settings; }
    void add(Call call, Breaker::Time now);
    // The next call of the host whose turn it is, or nothing: nobody waits or all limits are
    // reached.
    std::optional<Next> take(Breaker::Time now);
    // The call never got as far as the network: it says nothing about the host.
    void given_up(Place place, Breaker::Time now);
    void finished(Place place, const Reply& reply, Breaker::Time now);
    // Appends the calls that were kept back since the last time.
    void take_deferred(std::vector<Reply>& replies);
    // Hosts with trouble or work first.
    std::vector<Endpoint> endpoints(Breaker::Time now) const;

    std::uint32_t in_flight() const { return in_flight_; }
    std::uint32_t waiting() const { return waiting_; }

private:
    bool may_start(const Host& host) const;
    void give_turn(Host& host);
    void take_turn(Host& host);
    // Its calls get their turn, or come back when the breaker admits none.
    void offer(Host& host, Breaker::Time now);
    void defer_all(Host& host, Breaker::Time now);
    void release(Host& host, Breaker::Time now);
    void wake(Host& host);
    // Nothing of it waits or is in flight: may forget it, and others.
    void rest_if_idle(Host& host);
    void forget_idle();

    std::unordered_map<std::string, Host> hosts_;  // node based: pointers stay valid
    std::list<Host*> turns_;  // hosts that have a call waiting and are below their own limit
    std::array<std::list<Host*>, 2> idle_;  // without trouble, with; the longest idle first
    std::uint32_t max_in_flight_ = 1;
    std::uint32_t max_per_host_ = 1;
    std::uint32_t reserve_ = 0;
    std::uint32_t in_flight_ = 0;
    std::uint32_t waiting_ = 0;
    Breaker::Settings breaker_;
    std::vector<Deferred> deferred_;
};

}  // namespace dtm::net
