// The loop of one coordinator: takes new and due transactions, answers and timers, decides, calls
// and settles (design 4). Owns the network thread and, in one coordinator of a server, the API.
#pragma once

#include "net/client.hpp"
#include "server/server.hpp"
#include "worker/actives.hpp"
#include "worker/settler.hpp"
#include "worker/sweep.hpp"

#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>

namespace dtm::worker {

class Coordinator {
public:
    Coordinator(int worker, int workers);

    // One round of the loop. Does not wait. Throws PgError when the database cannot be used.
    void turn();
    // Settings were read again.
    void configure();
    // How long the loop may wait, in milliseconds, if nothing wakes it.
    long idle_ms() const;
    int ready_fd() const { return client_->ready_fd(); }
    // After a turn that threw: clients of the API are told.
    void cannot_work(const std::string& why);
    // Ends the network thread; what was in flight is called again by the next life.
    void stop() noexcept;

private:
    struct Unreadable {
        std::string gid;
        std::int64_t version;
        std::string why;
    };

    void take_answers(core::Time now);
    // Reads the hints of sessions. Transactions in memory that they are about make no call before
    // their rows are read: a verb that has committed is heard before anything leaves.
    void hear();
    // Gids to read from the table in this round.
    std::vector<std::string> to_load(core::Time now);
    void load(const std::vector<std::string>& gids, core::Time now);
    void load_due(core::Time now);
    void accept(const store::Row& row, core::Time now);
    // The row of a doubted transaction is gone, or cannot be read: what is in memory ends.
    void distrust(const std::string& gid);
    void load_one_by_one(const std::vector<std::string>& gids, core::Time now);
    // These were not read because of the disk.
    void judge_unread(std::span<const Unreadable> unread, std::uint64_t read_before);
    void put_aside_unreadable();
    // Reads, decides and settles in one transaction; false when it failed and was dealt with.
    bool database_round(const std::vector<std::string>& announced, bool sweeping, core::Time now);
    std::size_t room() const;
    bool reading_rests(core::Time now) const;
    void send();
    // Reads the standing orders and whose database this is; at the start, when told, and now and
    // then.
    void look_around(core::Time now);
    // What the API wrote in this turn: to be called now, or told to whom it concerns.
    void take_up(core::Time now);
    // False: no request was part of the transaction that failed.
    bool requests_apart(core::Time now, bool locked);
    // Clients that wait for transactions of another coordinator's slice.
    void look_after_others(core::Time now);
    void look_at_rounds(std::span<const std::string> gids);
    void look_at_round(const std::string& gid);
    void look_after_api(core::Time now);
    // When the API wants a turn by itself.
    std::optional<core::Time> api_due(core::Time now) const;
    void tell_who_waits(const store::Row& row);
    // Nothing is begun: an operator said so, or the transactions are not ours (P15).
    bool silent() const { return foreign_.has_value() || paused_; }
    void become_foreign(const std::string& why);
    void note_adoption(core::Time adopted);
    void show_endpoints(core::Time now);

    int worker_;
    int workers_;
    TransactionId first_xid_;  // see Actives::add
    std::unique_ptr<net::Client> client_;
    Actives actives_;
    Settler settler_{actives_};
    Sweep sweep_;
    std::unique_ptr<server::Server> server_;  // of the API database's first coordinator
    bool api_known_ = false;                  // the next two say what the settings say
    bool api_is_ours_ = false;
    bool api_open_ = false;
    std::optional<core::Time> api_shown_;
    std::optional<core::Time> others_seen_;
    bool settle_apart_ = false;         // a transaction of both failed: who was it?
    std::vector<std::string> touched_;  // rows that the API wrote and that are to be read
    std::vector<net::Reply> replies_;
    std::deque<std::string> hints_;              // of sessions, that wait for room
    std::unordered_set<std::string> doubted_;    // in memory, with a hint: to be read
    std::unordered_set<std::string> asked_for_;  // in this turn, by a session; see accept()
    std::unordered_set<std::string> to_hurry_;   // as a session wishes, when their rows are read
    std::vector<std::string> loading_;           // not empty: the load failed half way
    // This turn's requests brought new work, which may have ended already (no branch, no URL): the
    // next turn writes that down.
    bool taken_up_ = false;
    bool reading_ = false;  // the error came while rows were read
    // Somebody has locked what is read: settles and requests go on without.
    std::optional<core::Time> reading_rests_until_;
    std::vector<std::string> again_;  // to be loaded again: a lock or the server was in the way
    std::vector<Unreadable> unreadable_;
    std::uint64_t rows_read_ = 0;
    // Rows that the disk did not give, and how many others had been read before.
    std::unordered_map<std::string, std::uint64_t> unread_;
    unsigned turns_ = 0;  // with work to take up; see to_load()
    std::optional<core::Time> looked_around_;
    std::string database_;                // its name, for log lines
    bool control_changed_ = false;        // and not read yet
    std::optional<std::string> foreign_;  // why the transactions of this database are not ours
    bool restored_ = false;               // foreign, and dtm.identity does not say so yet
    core::Time installed_{};
    std::optional<core::Time> adopted_;  // as last seen
    bool paused_ = false;                // everything
    std::optional<core::Time> endpoints_shown_;
};

}  // namespace dtm::worker
