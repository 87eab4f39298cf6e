#include "driver/ledger.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace driver {

namespace {

// The 8 hex digits that a gid begins with.
std::uint32_t hash(std::uint32_t number) {  // splitmix64
    std::uint64_t x = number + 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::uint32_t>((x ^ (x >> 31)) >> 32);
}

// Value of a parameter of the query string. What the driver looks for is never escaped.
std::string_view parameter(std::string_view query, std::string_view name) {
    while (!query.empty()) {
        const auto pair = query.substr(0, query.find('&'));
        if (pair.size() > name.size() && pair[name.size()] == '=' && pair.starts_with(name))
            return pair.substr(name.size() + 1);
        query.remove_prefix(std::min(query.size(), pair.size() + 1));
    }
    return {};
}

bool read_number(std::string_view text, std::uint32_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string_view Ledger::finishing_op(std::string_view trans_type) {
    return trans_type == "tcc" ? "confirm" : "action";
}

Ledger::Ledger(std::string run, std::string_view trans_type, unsigned branches,
               std::uint32_t capacity)
    : run_(std::move(run)),
      op_(finishing_op(trans_type)),
      all_(branches == 64 ? ~0ull : (1ull << branches) - 1),
      entries_(capacity) {}

std::string Ledger::gid(std::uint32_t number) const {
    char text[32];
    std::snprintf(text, sizeof text, "%08x%.5s%08u", hash(number), run_.c_str(), number);
    return text;
}

bool Ledger::number_of(std::string_view gid, std::uint32_t& number) const {
    return gid.size() == gid_length && gid.substr(8, 5) == run_ &&
           read_number(gid.substr(13), number) && number < entries_.size();
}

void Ledger::arrived(std::string_view request_line) {
    const auto question = request_line.find('?');
    if (question == std::string_view::npos) return;
    auto query = request_line.substr(question + 1);
    query = query.substr(0, query.find(' '));
    const auto op = parameter(query, "op");
    std::uint32_t number = 0, branch = 0;
    if (!number_of(parameter(query, "gid"), number)) {
        ++foreign_;
        return;
    }
    const auto known = std::find(ops.begin(), ops.end() - 1, op);  // "other" stands at the end
    ++by_op_[static_cast<std::size_t>(known - ops.begin())];
    if (op != op_ || !read_number(parameter(query, "branch_id"), branch) || branch < 1 ||
        branch > max_branches)
        return;
    Entry& entry = entries_[number];
    const std::uint64_t bit = 1ull << (branch - 1);
    if (entry.branches & bit) {
        ++repeated_;
        return;
    }
    entry.branches |= bit;
    if (entry.branches == all_) entry.finished.store(now(), std::memory_order_release);
}

Ledger::Calls Ledger::calls() const {
    Calls calls;
    for (std::size_t i = 0; i < ops.size(); ++i)
        if (by_op_[i] != 0) calls.by_op.emplace(ops[i], by_op_[i]);
    calls.repeated = repeated_;
    calls.foreign = foreign_;
    return calls;
}

}  // namespace driver
