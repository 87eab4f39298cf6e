#include "driver/outcome.hpp"

#include "wire/json.hpp"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <unordered_map>

namespace driver {

namespace json = dtm::wire::json;

namespace {

void pause(Nanos time) {
    const timespec t{time / per_second, time % per_second};
    nanosleep(&t, nullptr);
}

std::string number(double value, int digits = 0) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string milliseconds(Nanos time) { return number(static_cast<double>(time) / per_ms, 3); }

// In JSON every byte must be part of a character, and a server may answer anything.
std::string quoted(std::string text) {
    for (char& c : text)
        if (c < ' ' || c > '~') c = '?';
    std::string out;
    json::append_string(out, text);
    return out;
}

template <class Map>
std::string object(const Map& map) {
    std::string out;
    for (const auto& [name, count] : map)
        out += (out.empty() ? "" : ", ") + quoted(name) + ": " + std::to_string(count);
    return "{" + out + "}";
}

// ", "NAME_p50_ms": …, "NAME_p99_ms": …"; nulls when there is nothing.
std::string quantiles(const std::string& name, std::vector<Nanos> values) {
    const auto at = [&](double q) {
        if (values.empty()) return std::string("null");
        const auto nth = values.begin() +
                         static_cast<std::ptrdiff_t>(static_cast<double>(values.size() - 1) * q);
        std::nth_element(values.begin(), nth, values.end());
        return milliseconds(*nth);
    };
    return ", \"" + name + "_p50_ms\": " + at(0.5) + ", \"" + name + "_p99_ms\": " + at(0.99);
}

// Status of a transaction in the answer of query, or what else was answered.
std::string status_in(const Answer& answer) {
    try {
        const json::Document document(answer.body, 32);
        const auto transaction = document.root().kind() == json::Kind::object
                                     ? document.root().find("transaction")
                                     : json::Value();
        if (answer.status == 200 && transaction.kind() == json::Kind::object) {
            const auto status = transaction.find("status");
            if (status.kind() == json::Kind::string) return std::string(status.string());
        }
        if (answer.status == 200 && transaction.is_null()) return "unknown gid";
    } catch (const json::SyntaxError&) {  // said below
    }
    return std::to_string(answer.status) + " " + answer.body.substr(0, 200);
}

// The same; a connection that broke is opened again by the next question.
std::string ask(Connection& connection, const std::string& query) {
    try {
        return status_in(connection.ask(query, 10000));
    } catch (const std::exception& e) {
        connection.close();
        return e.what();
    }
}

}  // namespace

Outcome::Outcome(const Workload& workload, const Ledger& ledger, const Load& load)
    : workload_(workload), ledger_(ledger), load_(load), backlog_(missing()) {}

Nanos Outcome::end(std::uint32_t number) const {
    const Nanos answered = load_.told()[number].answered, called = ledger_.finished(number);
    if (answered == 0 || called == 0) return 0;
    return workload_.wait_result ? answered : called;
}

std::uint64_t Outcome::missing() const {
    std::uint64_t count = 0;
    for (std::uint32_t n = 0; n < load_.told().size(); ++n)
        count += load_.told()[n].answered != 0 && end(n) == 0;
    return count;
}

Nanos Outcome::last_end() const {
    Nanos last = agreed_;
    for (std::uint32_t n = 0; n < load_.told().size(); ++n) last = std::max(last, end(n));
    return last;
}

void Outcome::drain(Nanos longest) {
    const Nanos give_up = now() + longest;
    while (missing() != 0 && now() < give_up) pause(10 * per_ms);
}

// Half of the sample are those that ended last, half are spread over the whole run.
std::vector<std::uint32_t> Outcome::pick(unsigned sample) const {
    std::vector<std::uint32_t> ended;
    for (std::uint32_t n = 0; n < load_.told().size(); ++n)
        if (end(n) != 0) ended.push_back(n);
    if (ended.size() <= sample) return ended;
    std::sort(ended.begin(), ended.end(), [this](auto a, auto b) { return end(a) > end(b); });
    const std::size_t last = sample / 2, rest = sample - last;
    std::vector<std::uint32_t> picked(ended.begin(),
                                      ended.begin() + static_cast<std::ptrdiff_t>(last));
    for (std::size_t i = 0; i < rest; ++i)
        picked.push_back(ended[last + i * (ended.size() - last) / rest]);
    return picked;
}

void Outcome::check(const Target& target, unsigned sample, Nanos longest) {
    auto open = pick(sample);
    asked_ = static_cast<unsigned>(open.size());
    const Nanos give_up = now() + longest;
    Connection connection(target.server);
    std::unordered_map<std::uint32_t, std::string> said;
    for (bool first = true;; first = false) {
        std::vector<std::uint32_t> still;
        for (const auto n : open) {
            said[n] = ask(connection, get_request(target, "query?gid=" + ledger_.gid(n)));
            if (said[n] != "succeed") still.push_back(n);
        }
        if (still.size() < open.size() && !first) agreed_ = now();
        open = std::move(still);
        if (open.empty() || now() > give_up) break;
        pause(10 * per_ms);
    }
    succeed_ = asked_ - static_cast<unsigned>(open.size());
    for (const auto n : open) ++otherwise_[said[n]];
}

std::string Outcome::json(const std::string& more, const Ledger::Calls& calls) const {
    const auto seconds = [](Nanos time) {
        return static_cast<double>(std::max<Nanos>(1, time)) / per_second;
    };
    std::vector<Nanos> submit, client, whole;
    std::uint64_t submitted = 0, finished = 0, steady = 0, measured = 0;
    for (std::uint32_t n = 0; n < load_.told().size(); ++n) {
        const Told& told = load_.told()[n];
        if (told.answered == 0) continue;
        ++submitted;
        finished += end(n) != 0;
        steady += end(n) >= load_.warm() && end(n) <= load_.stopped();
        if (told.begun < load_.warm()) continue;
        ++measured;
        submit.push_back(told.answered - told.asked);
        client.push_back(told.answered - told.begun);
        if (end(n) != 0) whole.push_back(end(n) - told.begun);
    }
    const auto window = seconds(load_.stopped() - load_.warm());
    const auto duration = seconds(std::max(last_end(), load_.stopped()) - load_.began());
    return "{" + more + "\"finished_per_s\": " + number(static_cast<double>(steady) / window, 1) +
           ", \"whole_per_s\": " + number(static_cast<double>(finished) / duration, 1) +
           ", \"submit_per_s\": " + number(static_cast<double>(measured) / window, 1) +
           quantiles("submit", submit) + quantiles("client", client) + quantiles("end", whole) +
           ", \"errors\": " + std::to_string(load_.errors()) +
           ", \"duration_s\": " + number(duration, 3) +
           ", \"begun\": " + std::to_string(load_.told().size()) +
           ", \"submitted\": " + std::to_string(submitted) +
           ", \"finished\": " + std::to_string(finished) +
           ", \"unfinished\": " + std::to_string(submitted - finished) +
           ", \"backlog\": " + std::to_string(backlog_) +
           ", \"late\": " + std::to_string(load_.late()) +
           ", \"sample\": " + std::to_string(asked_) +
           ", \"sample_succeed\": " + std::to_string(succeed_) +
           ", \"sample_otherwise\": " + object(otherwise_) +
           ", \"error_texts\": " + object(load_.error_texts()) +
           ", \"calls\": " + object(calls.by_op) +
           ", \"repeated_calls\": " + std::to_string(calls.repeated) +
           ", \"foreign_calls\": " + std::to_string(calls.foreign) + "}";
}

}  // namespace driver
