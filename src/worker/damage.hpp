// Reading where something may be damaged.
#pragma once

#include "pg/transaction.hpp"
#include "worker/settler.hpp"

#include <optional>
#include <string>

namespace dtm::worker {

// Does `read`, which changes nothing, so that an error about what it reads spoils no other: what
// that says, if there is one. Within a transaction and a pg::Spi scope.
template <class F>
std::optional<std::string> damage_in(F&& read) {
    try {
        pg::Subtransaction apart;
        read();
        apart.commit();
        return std::nullopt;
    } catch (const pg::PgError& error) {
        const Settler::Blame blame = Settler::blame_of(error);
        if (blame != Settler::Blame::row && blame != Settler::Blame::disk) throw;
        return error.what();
    }
}

// One log line when it begins, not one for each look.
class Complaint {
public:
    Complaint(const char* trouble, const char* hint, const char* end)
        : trouble_(trouble), hint_(hint), end_(end) {}

    void report(const std::string& what) {
        if (reported_) return;
        reported_ = true;
        pg::log(WARNING, trouble_, what, hint_);
    }
    bool goes_on() const { return reported_; }
    void over() {
        if (!reported_) return;
        reported_ = false;
        pg::log(LOG, end_);
    }

private:
    const char* trouble_;
    const char* hint_;
    const char* end_;
    bool reported_ = false;
};

}  // namespace dtm::worker
