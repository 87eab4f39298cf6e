// What has to come out when two calls for one branch meet: every world of worlds.py, with
// core::judge() for the verdict and a model of one table with a unique key for what judge() is
// told. Prints a line per world; check.py holds the lines against what PostgreSQL did.
//
// The model knows three things about PostgreSQL. An insertion waits for an uncommitted row of its
// key. A row that is there, committed, is seen by READ COMMITTED whenever it came. The higher
// levels work on their snapshot: a row of its key that was committed after it is neither seen nor
// ignored, it is error 40001.
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/barrier.hpp"

namespace {

using dtm::core::BarrierOp;
using dtm::core::TransType;
using dtm::core::Verdict;

enum class Level { read_committed, repeatable_read, serializable };
enum class Door { call, verdict, trigger };

// How s1 stands when s2 calls, and how it ends.
struct World {
    std::string_view name;
    bool open;  // s1 ends after the call of s2, which may have to wait
    bool commits;
    bool looked_before;       // s2's snapshot is older than s1's end; so it is in every open world
    bool prepared = false;    // by the first phase of XA; who waits for it cannot be observed
    bool takes_back = false;  // rolls back to a savepoint, and calls again when s2 has committed
};

// A call of a participant. A query asks about the op msg, and is no op itself.
struct Call {
    BarrierOp op;
    bool query = false;
};

struct Row {
    std::string_view reason;
    bool committed;
    bool unseen;  // committed after the snapshot of the transaction that inserts now
};
using Table = std::map<BarrierOp, Row>;  // one branch, barrier_id 01

std::string_view name(Call c) { return c.query ? "query" : to_string(c.op); }

// One transaction on the table. Its rows become part of the table when it commits.
class Transaction {
public:
    Transaction(const Table& table, const World* other_is_open, Level level)
        : table_(table), other_(other_is_open), level_(level) {}

    bool waited() const { return waited_; }
    const std::vector<BarrierOp>& effects() const { return effects_; }
    const std::map<BarrierOp, std::string_view>& rows() const { return rows_; }

    // What the caller is told.
    std::string run(TransType type, Call call, Door door) {
        std::string answer = call.query ? query() : operate(type, call.op, door);
        if (failed_) {
            rows_.clear();
            effects_.clear();
        }
        return answer;
    }

private:
    enum class Insertion { inserted, conflict, serialization_failure };

    Insertion insert(BarrierOp op, std::string_view reason) {
        const auto found = table_.find(op);
        if (found != table_.end() && !found->second.committed) waited_ = true;
        const bool there = found != table_.end() && (found->second.committed || other_->commits);
        if (!there) {
            rows_[op] = reason;
            return Insertion::inserted;
        }
        const bool unseen = !found->second.committed || found->second.unseen;
        if (unseen && level_ != Level::read_committed) {
            failed_ = true;
            return Insertion::serialization_failure;
        }
        return Insertion::conflict;
    }

    std::string query() {
        switch (insert(BarrierOp::msg, "rollback")) {
            case Insertion::inserted:
                return "false";
            case Insertion::conflict:
                return table_.at(BarrierOp::msg).reason == "msg" ? "true" : "false";
            case Insertion::serialization_failure:
                break;
        }
        return "40001";
    }

    std::string operate(TransType type, BarrierOp op, Door door) {
        dtm::core::BarrierRows found;
        if (const auto origin = origin_of(op)) {
            const Insertion insertion = insert(*origin, to_string(op));
            if (insertion == Insertion::serialization_failure) return "40001";
            found.origin_inserted = insertion == Insertion::inserted;
        }
        const Insertion insertion = insert(op, to_string(op));
        if (insertion == Insertion::serialization_failure) return "40001";
        found.own_inserted = insertion == Insertion::inserted;
        if (!found.own_inserted) found.own_reason = table_.at(op).reason;

        const Verdict verdict = judge(op, found);
        if (verdict == Verdict::run) effects_.push_back(op);
        if (door == Door::verdict) return std::string(to_string(verdict));
        if (verdict == Verdict::run) return "ran";
        if (type != TransType::msg || op != BarrierOp::msg) return "skipped";
        failed_ = true;  // the local transaction of a message must go as a whole
        return verdict == Verdict::hanging ? "TDF00" : "TD002";
    }

    const Table& table_;
    const World* other_;
    Level level_;
    bool waited_ = false;
    bool failed_ = false;
    std::vector<BarrierOp> effects_;
    std::map<BarrierOp, std::string_view> rows_;
};

constexpr World worlds[] = {
    {"committed", false, true, false},
    {"rolled back", false, false, false},
    {"committed, looked before", false, true, true},
    {"rolled back, looked before", false, false, true},
    {"open, commits", true, true, true},
    {"open, rolls back", true, false, true},
    {"open, takes it back", true, false, true, false, true},
    {"prepared, commits", true, true, true, true},
    {"prepared, rolls back", true, false, true, true},
};

template <typename Texts>
std::string joined(const Texts& texts, std::string_view separator) {
    std::string all;
    for (const auto& text : texts) all.append(all.empty() ? "" : separator).append(text);
    return all;
}

// What is left in the end.
class Database {
public:
    void commit(const Transaction& t) {
        for (const auto& [op, reason] : t.rows()) table_[op] = {reason, true, false};
        for (const BarrierOp op : t.effects()) effects_.emplace(to_string(op));
    }
    const Table& table() const { return table_; }
    // As a transaction meets it that took its snapshot when there was nothing.
    Table unseen() const {
        Table all = table_;
        for (auto& [op, row] : all) row.unseen = true;
        return all;
    }
    std::string effects() const { return joined(effects_, " "); }
    std::string rows() const {
        std::set<std::string> texts;  // in the order of the observer
        for (const auto& [op, row] : table_)
            texts.insert(std::string(to_string(op)).append(" 01 by ").append(row.reason));
        return joined(texts, ", ");
    }

private:
    Table table_;
    std::multiset<std::string_view> effects_;
};

// s1's rows as s2 meets them.
Table met_by_second(const Transaction& first, const World& world) {
    Table met;
    if (!world.open && !world.commits) return met;
    for (const auto& [op, reason] : first.rows())
        met[op] = {reason, !world.open, world.looked_before};
    return met;
}

std::string outcome(Door door, TransType type, Level level, const World& world, Call x, Call y) {
    const bool again = level != Level::read_committed && world.commits && world.looked_before;
    Database database;
    Transaction first(database.table(), nullptr, level);
    const std::string first_answer = first.run(type, x, door);

    const Table met = met_by_second(first, world);
    Transaction second(met, &world, level);
    const std::string second_answer = second.run(type, y, door);
    if (world.commits) database.commit(first);
    database.commit(second);

    std::string third_answer = "-";
    if (again || world.takes_back) {
        const Table left = world.takes_back ? database.unseen() : database.table();
        Transaction third(left, nullptr, level);
        third_answer = third.run(type, world.takes_back ? x : y, door);
        database.commit(third);
    }
    const std::string fields[] = {
        std::string(name(x)) + " " + first_answer,
        std::string(world.name),
        std::string(name(y)) + (second.waited() && !world.prepared ? " waits " : " ") +
            second_answer,
        "again " + third_answer,
        "effects " + database.effects(),
        "barrier " + database.rows(),
    };
    return joined(fields, " | ");
}

std::vector<Call> calls_of(TransType type) {
    std::vector<Call> calls;
    for (int i = 0; i <= static_cast<int>(BarrierOp::msg); ++i) {
        const auto op = static_cast<BarrierOp>(i);
        if (has_op(type, op)) calls.push_back({op});
    }
    if (type == TransType::msg) calls.push_back({BarrierOp::msg, true});
    return calls;
}

// The coordinator's own branch 00 and the branches that it calls do not meet.
bool same_branch(TransType type, Call x, Call y) {
    return type != TransType::msg || (x.op == BarrierOp::msg) == (y.op == BarrierOp::msg);
}

}  // namespace

int main() {
    constexpr std::pair<Door, std::string_view> doors[] = {
        {Door::call, "call"}, {Door::verdict, "verdict"}, {Door::trigger, "trigger"}};
    constexpr std::pair<Level, std::string_view> levels[] = {
        {Level::read_committed, "read committed"},
        {Level::repeatable_read, "repeatable read"},
        {Level::serializable, "serializable"}};
    constexpr TransType types[] = {TransType::saga, TransType::tcc, TransType::xa, TransType::msg};
    for (const auto& [door, door_name] : doors)
        for (const TransType type : types)
            for (const auto& [level, level_name] : levels)
                for (const Call x : calls_of(type))
                    for (const Call y : calls_of(type))
                        for (const World& world : worlds) {
                            if (!same_branch(type, x, y)) continue;
                            if (world.prepared && type != TransType::xa) continue;
                            std::cout << door_name << " | " << to_string(type) << " | "
                                      << level_name << " | "
                                      << outcome(door, type, level, world, x, y) << '\n';
                        }
}
