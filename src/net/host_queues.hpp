// Who may be called next: calls wait in queues per host, first in, first out, the urgent ones
// before the others, and the hosts take turns. Knows limits and nothing of sockets. It survives a
// host that never answers: such a host fills its own limit and never another host's, and what
// queues up behind that limit fills a part of the places and never all (P8).
#pragma once

#include "net/breaker.hpp"
#include "net/client.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>

namespace dtm::net {

class HostQueues {
public:
    struct Waiting {
        Call call;
        Breaker::Time since;
    };
    struct Host {
        std::deque<Waiting> urgent;
        std::deque<Waiting> waiting;
        std::uint32_t in_flight = 0;
        std::size_t bytes = 0;  // of all its calls
        bool in_turn = false;   // member of turns_
        std::string key;
        Breaker breaker;
        std::uint64_t outage = 0;
        Breaker::Time next_slot{};   // when the last call that the breaker kept may come back
        Breaker::Time next_place{};  // the same of those for which there was no room
        Breaker::Time last_answer{};
        Breaker::Time last_move{};  // a call ended, or the first came
        Endpoint seen;              // its counters; the rest is filled in when somebody asks
        // Member of idle_ (in trouble or not), and where.
        std::optional<bool> idle_in_trouble;
        std::list<Host*>::iterator idle_at;
        bool nobody_waits() const { return urgent.empty() && waiting.empty(); }
        std::size_t calls() const { return in_flight + urgent.size() + waiting.size(); }
    };

    // Whose call it is that was started. Valid until finished() or given_up() is told about it.
    struct Place {
        Host* host = nullptr;
        Breaker::Probe probe = 0;
        std::size_t bytes = 0;
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

    void set_limits(std::uint32_t max_in_flight, std::uint32_t max_per_host);
    // What all calls may take together, those that wait included. A host that keeps up may have it
    // all. One that does not has at most half of what is free: one slow host gets a third of
    // everything, two a quarter each, and some is always left for the others.
    void set_room(std::uint32_t max_held, std::size_t max_bytes);
    void set_breaker(Breaker::Settings settings) { breaker_ = settings; }
    void add(Call call, Breaker::Time now);
    // The next call of the host whose turn it is, or nothing: nobody waits or all limits are
    // reached.
    std::optional<Next> take(Breaker::Time now);
    // The call never got as far as the network: it says nothing about the host.
    void given_up(Place place, Breaker::Time now);
    // The same, and it is called again before the others.
    void put_back(Place place, Call call, Breaker::Time now);
    void finished(Place place, const Reply& reply, Breaker::Time now);
    // Gives back what waits, of these calls.
    void recall(std::vector<IdRange> ids);
    // Slow hosts give back what is too much. Asked now and then while crowded(): that a host has
    // become slow is no event.
    void shed(Breaker::Time now);
    bool crowded() const { return held() > max_held_ / 2 || bytes_ > max_bytes_ / 2; }
    // Appends the calls that were kept back or recalled since the last time.
    void take_returned(std::vector<Reply>& replies);
    // Hosts with trouble or work first.
    std::vector<Endpoint> endpoints(Breaker::Time now) const;

    std::uint32_t in_flight() const { return in_flight_; }
    std::uint32_t waiting() const { return waiting_; }

private:
    bool may_start(const Host& host) const;
    std::uint32_t held() const { return in_flight_ + waiting_; }
    std::uint32_t most_in_flight_of_one() const;
    bool fits(const Host& host) const;
    std::chrono::microseconds queue_time(const Host& host, Breaker::Time now) const;
    bool keeps_up(const Host& host, Breaker::Time now) const;
    std::chrono::milliseconds retry_when_slow(const Host& host, Breaker::Time now) const;
    void make_room(Host& host, Breaker::Time now);
    void give_turn(Host& host);
    void take_turn(Host& host);
    // Its calls get their turn, or come back when the breaker admits none.
    void offer(Host& host, Breaker::Time now);
    void defer_all(Host& host, Breaker::Time now);
    Reply& defer(Host& host, const Call& call, Breaker::Time until, Breaker::Time now);
    void no_longer_waits(Host& host, const Call& call);
    void release(Place place, Breaker::Time now);
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
    std::uint32_t max_held_ = Settings().max_held;
    std::size_t max_bytes_ = Settings().max_held_bytes;
    std::uint32_t in_flight_ = 0;
    std::uint32_t waiting_ = 0;
    std::size_t bytes_ = 0;
    Breaker::Time next_shed_{};
    Breaker::Settings breaker_;
    std::uint64_t outages_ = 0;
    std::vector<Reply> returned_;
};

}  // namespace dtm::net
