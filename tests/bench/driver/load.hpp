// Clients that send transactions, each one after the other, from one thread. At full load a client
// begins its next transaction when the submit of the one before is answered; with a rate,
// transactions are due at random times (Poisson), and a free client takes each.
#pragma once

#include "driver/clock.hpp"
#include "driver/connection.hpp"
#include "driver/ledger.hpp"
#include "driver/workload.hpp"

#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace driver {

struct Plan {
    unsigned clients = 1;
    double warmup = 1, seconds = 5;
    double rate = 0;      // transactions a second; 0: as many as go
    double timeout = 30;  // seconds for one request
};

// What the clients know of one transaction.
struct Told {
    Nanos begun = 0;     // when it was due, if no client was free then
    Nanos asked = 0;     // the submit was sent
    Nanos answered = 0;  // and answered by success; 0: never
};

class Load {
public:
    // Opens all connections to the server. Throws std::runtime_error.
    Load(Workload& workload, const Target& target, const Ledger& ledger, const Plan& plan);
    ~Load();
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    // Until the time is over and the last transaction begun has been submitted.
    void run();

    const std::vector<Told>& told() const { return told_; }  // by number
    Nanos began() const { return began_; }
    Nanos warm() const { return warm_; }
    Nanos stopped() const { return stopped_; }  // when run() ended
    std::uint64_t errors() const { return errors_; }
    // Some of their texts, and how often each was seen.
    const std::map<std::string, std::uint64_t>& error_texts() const { return texts_; }
    // Transactions that were due when no client was free.
    std::uint64_t late() const { return late_; }

private:
    struct Client {
        explicit Client(const Target& target)
            : server(target.server), participant(target.participant) {}
        Connection server, participant;
        std::uint32_t number = 0;
        std::size_t step = 0;
        Nanos sent = 0;
        bool busy = false;
        Nanos rests_until = 0;
        Connection& to(Step::To whom) { return whom == Step::To::server ? server : participant; }
    };

    void begin_what_is_due();
    void begin(std::size_t client, Nanos due);
    void send(std::size_t client);
    void readable(std::size_t client, Step::To whom);
    void answered(std::size_t client, const Answer& answer);
    void failed(std::size_t client, const std::string& text, bool broken);
    void watch(std::size_t client, Step::To whom);
    void find_overdue();
    Nanos until_next() const;
    Nanos next_pause();

    Workload& workload_;
    const Ledger& ledger_;
    Plan plan_;
    int epoll_ = -1;
    std::deque<Client> clients_;
    std::deque<std::size_t> idle_;  // those that rest stand at the end
    std::vector<Told> told_;
    Nanos began_ = 0, warm_ = 0, end_ = 0, stopped_ = 0;
    Nanos due_ = 0, overdue_look_ = 0;
    bool starved_ = false;  // a transaction is due and no client is free
    std::mt19937_64 random_{6};
    std::uint64_t errors_ = 0, late_ = 0;
    std::map<std::string, std::uint64_t> texts_;
};

}  // namespace driver
