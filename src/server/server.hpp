// The API server on the main thread (design 12): takes requests from the network thread, executes
// all that came in one turn in one database transaction, and answers after its commit. Knows
// nothing of the transactions that the coordinator holds in memory; it says which rows it wrote,
// and hears when a round is over.
#pragma once

#include "net/client.hpp"
#include "server/job.hpp"
#include "server/metrics.hpp"
#include "server/permission.hpp"
#include "server/round_end.hpp"
#include "server/waiting_room.hpp"

#include <deque>
#include <string>
#include <vector>

namespace dtm::server {

class Server {
public:
    explicit Server(net::Client& client) : client_(client) {}

    // Settings were read again, or `open` changed: only who may work listens.
    void configure(bool open);
    // Takes what has come; answers at once what needs no table. `foreign`: why the transactions of
    // this database are not ours, and then nothing else is done.
    void receive(core::Time now, const std::optional<std::string>& foreign);
    // Instead of a turn that an error has ended: what needs no table is answered all the same, and
    // nobody waits for longer than for a lock.
    void cannot_work(core::Time now, const std::optional<std::string>& foreign,
                     const std::string& why);
    // Requests wait for a transaction.
    bool anything_to_do() const { return !queue_.empty(); }
    // When those are tried again that found a row locked.
    std::optional<core::Time> due() const {
        return locked_.empty() ? std::nullopt : std::optional(locked_until_);
    }
    bool anybody_waits() const { return waiting_.size() > 0; }

    // One turn's requests, within a transaction and a pg::Spi scope; then committed(), or after an
    // error alone(): each in a transaction of its own, so that one of them spoils no other.
    void execute(core::Time now);
    void committed(core::Time now);
    bool executing() const { return !batch_.empty(); }
    // `locked`: the error was somebody's lock.
    void alone(core::Time now, bool locked);

    // What committed() wrote, for the coordinator: transactions to take up.
    struct Written {
        std::string gid;
        store::CommandResult row;
    };
    std::vector<Written> take_written();
    // Whose round somebody waits for.
    bool is_awaited(const std::string& gid) const { return waiting_.is_awaited(gid); }
    std::vector<std::string> awaited() const { return waiting_.gids(); }
    void round_over(const RoundEnd& end);
    // Answers those who waited too long.
    void give_up();

    // Sends the answers that are ready.
    void send();
    Metrics& metrics() { return metrics_; }

private:
    void look_at_role();
    void complain(const pg::SqlError&);
    void drop_unanswered();
    void refuse_all(const std::string& why);
    void refuse(const Job& job, const Answer& answer);
    void refuse_reads_without_room();
    void refuse_what_is_not_permitted(Oid role);
    void take_batch();
    void leave_doubles();
    void read_rows(Oid role, core::Time now);
    void forget_the_gone();
    void park(const Job& job);
    void command(const std::vector<Job*>& commanders, Oid role, core::Time now, bool careful);
    void take_note(Job& job);
    void come_back(Job& job, core::Time now);
    void finish(Job& job, core::Time now);
    bool execute_alone(core::Time now);  // false: somebody's lock was in the way
    void reply(const Job& job, const Answer& answer);
    void reply(Guest&& guest, wire::ApiOutcome outcome);

    // Somebody else's lock: as long as a client may well wait for an answer.
    static constexpr std::chrono::seconds longest_lock{3};

    net::Client& client_;
    Metrics metrics_;
    net::ServerSettings applied_;
    Permission permission_;
    bool operators_ = true;
    bool role_complained_ = false;  // since the settings were read
    bool careful_ = false;          // somebody holds a row's lock: do not wait for it
    std::deque<Job> queue_;
    std::vector<Job> locked_;
    core::Time locked_until_{};
    std::vector<Job> batch_;  // between execute() and committed()
    std::deque<Job> apart_;   // of a batch that failed: have yet to be executed one by one
    std::vector<Written> written_;
    std::vector<std::string> touched_;  // rows that a read made due
    WaitingRoom waiting_;
    std::vector<std::uint64_t> gone_;  // requests whose client has left
    std::vector<net::HttpRequest> requests_;
    std::vector<net::HttpAnswer> answers_;
};

}  // namespace dtm::server
