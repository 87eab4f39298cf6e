// The transactions that this coordinator holds in memory, and what decide() wants done with them.
// Bookkeeping between store, core, net and the API: no SQL, no waiting. What is lost with this
// memory is found again by the sweep.
#pragma once

#include "core/decide.hpp"
#include "hub/shared.hpp"
#include "net/client.hpp"
#include "server/server.hpp"
#include "store/commands.hpp"
#include "store/trans.hpp"
#include "worker/alarms.hpp"
#include "worker/orders.hpp"

#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dtm::worker {

struct Active {
    std::uint64_t id = 0;
    std::shared_ptr<const core::Request> request;
    core::State state;
    std::size_t bytes = 0;        // of memory, but for its calls in flight
    std::int64_t version = 0;     // of the row as last read or written
    bool silent = false;          // the row, as last read or written, has no progress text
    std::uint32_t in_flight = 0;  // calls released and unanswered
    core::Write dirty = core::Write::none;
    bool deferred = false;           // somebody held its row when it was to be written
    bool begun = false;              // a call has left in this life
    bool insisting = false;          // see Actives::add
    bool listed = false;             // in Actives::dirty_, once, whatever `dirty` has become since
    std::vector<core::Call> held;    // calls that leave after the next settle
    std::optional<core::Time> wake;  // when decide() wants to be asked again; see timers_
    std::optional<core::Time> resting_until;  // its row could not be written; not tried before
    core::Seconds rest_time{};                // how long it rested for the disk, the last time
    // Somebody else changed the row: no more decisions here; when the calls in flight have ended it
    // is read again (design 5.4).
    bool reload = false;
    // Somebody may have: its calls stay in the outbox until its row was read (Coordinator::hear).
    bool doubted = false;
    core::Outcome last{core::Result::success, {}, {}};  // the last that was not a success
    const std::string& gid() const { return request->gid; }
};

class Actives {
public:
    // Makes the state of a row that was just read and decides. `first_xid`: rows inserted by this
    // or a later transaction cannot have been worked on by an earlier life of this coordinator, nor
    // in the database that a dump came from.
    // `wish`: somebody wants it called now, so its next call may try a host whose circuit breaker
    // is open. Throws std::runtime_error when the row's texts cannot be read.
    void add(const store::Row& row, TransactionId first_xid, std::optional<hub::Wish> wish,
             core::Time now);
    // The same of a row that this process has just written for a client of the API, in whose life
    // nothing was called yet.
    void add(const store::CommandResult& written, core::Time now);
    // What an unfinished row waits after: the answer that let it wait. None: it may be called now.
    static std::optional<core::Outcome> waiting_since(const store::Row& row);
    // Who hears of the rounds and of the answers of branches.
    void report_to(server::Server* server) { server_ = server; }
    // An answer came. Late answers (of a transaction that left memory) are dropped.
    void answer(net::Reply&& reply, core::Time now);
    // Timers that are over: decides for those in memory, returns gids of others for loading, so
    // many at most.
    std::vector<std::string> expire(core::Time now, std::size_t max);

    Active* find(std::string_view gid);
    std::size_t size() const { return by_id_.size(); }
    // Of memory. With so much no more is let in; the rest waits in the table.
    static constexpr std::size_t max_bytes = std::size_t{128} << 20;
    std::size_t bytes() const { return bytes_; }
    std::uint32_t in_flight() const { return static_cast<std::uint32_t>(calls_.size()); }

    // Calls that may leave at once, and alerts; emptied by the caller.
    std::vector<net::Call>& outbox() { return outbox_; }
    // Takes the calls of doubted transactions out of the outbox.
    std::vector<net::Call> take_doubted();
    // Calls that the network thread shall give back where they have not started: the orders have
    // changed, or their transaction has. Emptied by the caller, after the outbox is on its way.
    std::vector<net::IdRange>& recalls() { return recalls_; }
    // Answers the calls that were not made because their host, or everything, is paused.
    void answer_undelivered(core::Time now);
    bool anything_undelivered() const { return !undelivered_.empty(); }
    void set_orders(Orders orders);

    // Transactions whose state must be written, by id; in order of their decisions.
    std::vector<Active*> dirty();
    // The row of `a` was written (version grew): held calls may leave; finished and waiting
    // transactions leave memory.
    void settled(Active& a, core::Time now);
    // The row was changed by somebody else. Its gid is returned by reloadable() when nothing is in
    // flight any more.
    void changed_by_others(Active& a);
    std::vector<std::string> take_reloadable();
    bool anything_reloadable() const { return !reloadable_.empty(); }
    // Its row can be neither written nor marked: it is left alone until `until`, and so are others
    // by it.
    void rest(Active& a, core::Time until);
    void end_rest(Active& a, core::Time now);
    // What waits for a retry is called now, whatever else is in flight.
    void hurry(Active& a, core::Time now);
    // Somebody holds its row: the others are written first.
    void defer(Active& a);
    void forget(Active& a);
    // Its row was put aside, `why` for whoever waits for its round.
    void put_aside(Active& a, const std::string& why);
    std::optional<core::Time> next_wake() const;                             // of one in memory
    std::optional<core::Time> next_alarm() const { return alarms_.next(); }  // of another
    // Of all that others may have changed without telling.
    std::vector<std::string> gids() const;

private:
    // Of a call that was decided and then kept back by a pause.
    struct Undelivered {
        std::uint64_t call;
        std::string why;
        core::Time not_before;
    };

    // The transaction of a call that has ended, null when it has left memory.
    Active* ended(std::uint64_t call);
    void take(Active& a, std::uint64_t call, core::Outcome&& outcome, core::Time now);
    void tell_of_outage(const Active& a, std::uint64_t call, const net::Outage& outage);
    Active& keep(std::unique_ptr<Active> a);
    void round_over(const Active& a);
    void count_branch(const Active& a, std::uint32_t branch, core::Op op, bool ok);
    void absorb(Active& a, core::Decision&& decision);
    void decide(Active& a, const core::Event& event, core::Time now);
    void release(Active& a, std::span<const core::Call> calls);
    void release(Active& a, const core::Call& call, std::size_t share);
    void take_back(const Active& a);
    void recall(const Active& a);
    void send_alert(const Active& a, const core::Alert& alert);
    void set_wake(Active& a, std::optional<core::Time> at);
    // A transaction that only waits leaves memory; an alarm or the sweep brings it back.
    void let_go_if_idle(Active& a, core::Time now);

    server::Server* server_ = nullptr;  // none: this process has no API
    std::uint64_t next_id_ = 1;
    std::size_t bytes_ = 0;
    std::unordered_map<std::uint64_t, std::size_t> calls_;  // in flight, and the bytes of each
    std::unordered_map<std::uint64_t, std::unique_ptr<Active>> by_id_;
    std::unordered_map<std::string_view, Active*> by_gid_;  // keys point into the requests
    std::vector<std::uint64_t> dirty_;
    std::vector<std::string> reloadable_;
    std::vector<net::Call> outbox_;
    std::vector<net::IdRange> recalls_;
    std::vector<Undelivered> undelivered_;
    std::set<std::uint64_t> outages_told_;
    Orders orders_;
    // When the last call that a pause kept back looks again; not by a clock that is set back.
    std::chrono::steady_clock::time_point pause_slot_{};
    std::set<std::pair<core::Time, std::uint64_t>> timers_;  // one for each Active with a wake
    Alarms alarms_;  // of transactions that have left memory
};

}  // namespace dtm::worker
