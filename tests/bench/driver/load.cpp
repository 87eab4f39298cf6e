#include "driver/load.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <system_error>

namespace driver {

namespace {

// A client that met an error waits: a server that refuses at once must not get all of the machine.
constexpr Nanos rest_after_error = 20 * per_ms;
constexpr std::size_t most_texts = 5;

Nanos nanos(double seconds) { return static_cast<Nanos>(seconds * per_second); }

}  // namespace

Load::Load(Workload& workload, const Target& target, const Ledger& ledger, const Plan& plan)
    : workload_(workload), ledger_(ledger), plan_(plan), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    told_.reserve(ledger.capacity());
    for (std::size_t i = 0; i < plan.clients; ++i) {
        clients_.emplace_back(target);
        clients_[i].server.open();
        watch(i, Step::To::server);
        idle_.push_back(i);
    }
}

Load::~Load() { close(epoll_); }

void Load::run() {
    began_ = due_ = now();
    warm_ = began_ + nanos(plan_.warmup);
    end_ = warm_ + nanos(plan_.seconds);
    epoll_event events[128];
    for (;;) {
        begin_what_is_due();
        if (now() >= end_ && idle_.size() == clients_.size()) break;
        const Nanos wait = until_next();
        const timespec timeout{wait / per_second, wait % per_second};
        const int n = epoll_pwait2(epoll_, events, 128, &timeout, nullptr);
        for (int i = 0; i < n; ++i)
            readable(events[i].data.u64 / 2, static_cast<Step::To>(events[i].data.u64 % 2));
        find_overdue();
    }
    stopped_ = now();
}

void Load::begin_what_is_due() {
    for (;;) {
        const Nanos time = now();
        if (told_.size() == ledger_.capacity()) end_ = std::min(end_, time);
        if (time >= end_) return;
        if (plan_.rate > 0 && due_ > time) {
            starved_ = false;
            return;
        }
        if (idle_.empty() || clients_[idle_.front()].rests_until > time) {
            starved_ = true;
            return;
        }
        const auto client = idle_.front();
        idle_.pop_front();
        begin(client, plan_.rate > 0 && starved_ ? due_ : time);
        if (plan_.rate > 0) {
            late_ += starved_;
            due_ += next_pause();
        }
    }
}

Nanos Load::next_pause() {
    return nanos(std::exponential_distribution<double>(plan_.rate)(random_));
}

// How long nothing is to be done unless an answer comes.
Nanos Load::until_next() const {
    const Nanos time = now();
    Nanos next = time + 100 * per_ms;
    if (time < end_) {
        next = std::min(next, end_);
        if (plan_.rate > 0 && !starved_) next = std::min(next, due_);
        if (!idle_.empty() && (plan_.rate == 0 || starved_))
            next = std::min(next, clients_[idle_.front()].rests_until);
    }
    return std::max<Nanos>(0, next - time);
}

void Load::begin(std::size_t client, Nanos due) {
    Client& c = clients_[client];
    c.number = static_cast<std::uint32_t>(told_.size());
    c.step = 0;
    c.busy = true;
    told_.push_back({due, 0, 0});
    send(client);
}

void Load::send(std::size_t client) {
    Client& c = clients_[client];
    Step& step = workload_.steps[c.step];
    Connection& connection = c.to(step.to);
    // A first step that had to wait for a free client waited for the server.
    c.sent = c.step == 0 ? told_[c.number].begun : now();
    if (step.submit) told_[c.number].asked = c.sent;
    try {
        if (!connection.is_open()) {
            connection.open();
            watch(client, step.to);
        }
        connection.send(step.request.with(ledger_.gid(c.number)));
    } catch (const std::exception& e) {
        failed(client, e.what(), true);
    }
}

void Load::readable(std::size_t client, Step::To whom) {
    Client& c = clients_[client];
    if (!c.to(whom).is_open()) return;
    if (!c.busy || workload_.steps[c.step].to != whom) {
        c.to(whom).close();  // it ended while nothing was asked of it; opened again when needed
        return;
    }
    try {
        if (const auto answer = c.to(whom).receive()) answered(client, *answer);
    } catch (const std::exception& e) {
        failed(client, e.what(), true);
    }
}

// As clients of dtm judge it: 200, and no FAILURE anywhere in the body.
void Load::answered(std::size_t client, const Answer& answer) {
    Client& c = clients_[client];
    const Step& step = workload_.steps[c.step];
    if (answer.status != 200 || answer.body.find("FAILURE") != std::string::npos) {
        failed(client, std::to_string(answer.status) + " " + answer.body.substr(0, 200), false);
        return;
    }
    if (step.submit) {
        told_[c.number].answered = now();
        c.busy = false;
        idle_.push_front(client);
        return;
    }
    ++c.step;
    send(client);
}

void Load::failed(std::size_t client, const std::string& text, bool broken) {
    Client& c = clients_[client];
    const Step& step = workload_.steps[c.step];
    if (broken) c.to(step.to).close();
    c.busy = false;
    c.rests_until = now() + rest_after_error;
    idle_.push_back(client);
    ++errors_;
    // A gid in the text would make each of them a text of its own.
    std::string told = text;
    const auto gid = ledger_.gid(c.number);
    for (std::size_t at; (at = told.find(gid)) != std::string::npos;)
        told.replace(at, gid.size(), "GID");
    if (texts_.size() < most_texts || texts_.contains(told)) ++texts_[told];
}

void Load::watch(std::size_t client, Step::To whom) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = client * 2 + static_cast<std::size_t>(whom);
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, clients_[client].to(whom).fd(), &event) != 0)
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

void Load::find_overdue() {
    const Nanos time = now();
    if (time < overdue_look_) return;
    overdue_look_ = time + 200 * per_ms;
    for (std::size_t i = 0; i < clients_.size(); ++i)
        if (clients_[i].busy && time - clients_[i].sent > nanos(plan_.timeout))
            failed(i, "no answer in " + std::to_string(std::lround(plan_.timeout)) + " s", true);
}

}  // namespace driver
