// Writes what the decisions of one loop want written, in one transaction; isolates a row that
// cannot be written, so that it stops nobody else; never waits for a row that somebody else has
// locked.
#pragma once

#include "worker/actives.hpp"

namespace dtm::worker {

class Settler {
public:
    explicit Settler(Actives& actives) : actives_(actives) {}

    // Within a transaction and a Spi scope. Call committed() after the commit, or failed() after an
    // error of any statement or of the commit.
    void write(core::Time now);
    void committed(core::Time now);
    // Throws on when the error is not about a single row (the extension is gone, say).
    void failed(const pg::PgError& error, core::Time now);

    // The transaction failed, and not for what write() did: it is written again.
    void postpone() {
        batch_.clear();
        truncated_ = false;
    }
    // More is to be written at once, without waiting for anything.
    bool more() const { return truncated_; }
    // What an error of a statement about rows says: that this row is damaged, that the disk is the
    // trouble (where this row stands, or everywhere: as others fare), that somebody holds a lock
    // (nothing is wrong, try again), or that the server or the schema is the trouble.
    enum class Blame { row, disk, lock, everything };
    static Blame blame_of(const pg::PgError& error);
    // The first two: others may fare better.
    static bool is_about_rows(const pg::PgError& error) {
        const Blame blame = blame_of(error);
        return blame == Blame::row || blame == Blame::disk;
    }

private:
    void write_one_by_one(core::Time now);
    void write_alone(Active& a, core::Time now);
    void put_aside(Active& a, const std::string& why);
    void try_later(Active& a, const std::string& why);

    Actives& actives_;
    std::vector<Active*> batch_;  // what write() wrote; valid until committed()
    store::SettleResult result_;
    bool truncated_ = false;
    std::size_t dirty_ = 0;   // how many there were to write
    std::size_t locked_ = 0;  // since the last that could be written
    bool careful_ = false;    // somebody holds a row lock: ask before locking
};

}  // namespace dtm::worker
