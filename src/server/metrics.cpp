// See metrics.hpp. The library is prometheus-cpp: its registry, and its printing of the format.
#include "server/metrics.hpp"

#include "hub/shared.hpp"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

namespace dtm::server {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;

// The defaults of Prometheus' clients, and so dtm's.
const Histogram::BucketBoundaries buckets{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

// Clients choose the ids of tcc and xa branches: the first twenty are told apart.
std::string bounded_branch_id(std::string_view id) {
    const bool two_digits = id.size() == 2 && id[1] >= '0' && id[1] <= '9';
    const bool small = two_digits && (id[0] == '0' || id[0] == '1' || id == "20");
    return small ? std::string(id) : "other";
}

// A workflow's op is the name that its author gave it.
std::string bounded_op(core::TransType type, std::string_view op) {
    return type == core::TransType::workflow ? "callback" : std::string(op);
}

// Of all coordinators of this server.
struct Total {
    hub::Counter counter;
    const char* name;
    const char* help;
};
constexpr std::array totals{
    Total{hub::Counter::calls, "dtm_pg_branch_calls_total", "Branch calls made."},
    Total{hub::Counter::answers_success, "dtm_pg_answers_success_total", "Answers: success."},
    Total{hub::Counter::answers_failure, "dtm_pg_answers_failure_total", "Answers: FAILURE."},
    Total{hub::Counter::answers_ongoing, "dtm_pg_answers_ongoing_total", "Answers: ONGOING."},
    Total{hub::Counter::answers_error, "dtm_pg_answers_error_total", "Calls without any of these."},
    Total{hub::Counter::settles, "dtm_pg_settles_total", "Database transactions that wrote rows."},
    Total{hub::Counter::settled_rows, "dtm_pg_settled_rows_total", "Rows written by them."},
    Total{hub::Counter::succeeded, "dtm_pg_succeeded_total", "Global transactions: succeed."},
    Total{hub::Counter::failed, "dtm_pg_failed_total", "Global transactions: failed."},
    Total{hub::Counter::attention, "dtm_pg_attention_total", "Transactions put aside."},
    Total{hub::Counter::alerts, "dtm_pg_alerts_total", "Alerts raised."},
};

// One life of a coordinator: its counters begin with 0 and only grow.
using Life = std::tuple<Oid, int, int, TimestampTz>;
using Counters = std::array<std::uint64_t, static_cast<std::size_t>(hub::Counter::count)>;

}  // namespace

// Looking a metric up by its labels is slow: each is looked up once.
struct Metrics::Impl {
    struct Counted {
        Counter* ok = nullptr;
        Counter* fail = nullptr;
        Histogram* seconds = nullptr;
    };

    Counted& of(Route r) {
        Counted& found = by_route[r];
        if (found.ok == nullptr) {
            const std::string api(label(r));
            found.ok = &requests.Add({{"type", "http"}, {"api", api}, {"status", "ok"}});
            found.fail = &requests.Add({{"type", "http"}, {"api", api}, {"status", "fail"}});
            found.seconds = &durations.Add({{"type", "http"}, {"api", api}}, buckets);
        }
        return found;
    }

    Counted& of(core::TransType t) {
        Counted& found = by_type[t];
        if (found.ok == nullptr) {
            const std::string model(to_string(t));
            found.ok = &rounds.Add({{"model", model}, {"status", "ok"}});
            found.fail = &rounds.Add({{"model", model}, {"status", "fail"}});
            found.seconds = &ages.Add({{"model", model}}, buckets);
        }
        return found;
    }

    Registry registry;
    Family<Counter>& requests =
        BuildCounter().Name("dtm_server_process_total").Help("API calls.").Register(registry);
    Family<Histogram>& durations = BuildHistogram()
                                       .Name("dtm_server_response_duration")
                                       .Help("Seconds from an API call to its answer.")
                                       .Register(registry);
    Family<Counter>& rounds = BuildCounter()
                                  .Name("dtm_transaction_process_total")
                                  .Help("Rounds of global transactions.")
                                  .Register(registry);
    Family<Histogram>& ages = BuildHistogram()
                                  .Name("dtm_transaction_handled_duration")
                                  .Help("Seconds from a transaction's creation to a round's end.")
                                  .Register(registry);
    Family<Counter>& branches =
        BuildCounter().Name("dtm_branch_process_total").Help("Branch calls.").Register(registry);
    Gauge& connections = BuildGauge()
                             .Name("dtm_pg_api_connections")
                             .Help("Open connections of API clients.")
                             .Register(registry)
                             .Add({});
    Gauge& waiting = BuildGauge()
                         .Name("dtm_pg_api_waiting")
                         .Help("Requests of API clients that wait for the end of a round.")
                         .Register(registry)
                         .Add({});
    std::map<Life, Counters> lives;  // as of the last look
    std::map<Route, Counted> by_route;
    std::map<core::TransType, Counted> by_type;
    std::map<std::tuple<core::TransType, std::string, std::string, bool>, Counter*> by_branch;
    std::map<std::string_view, Counter*> by_name;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
    BuildGauge()
        .Name("dtm_server_info")
        .Help("The server's build.")
        .Register(impl_->registry)
        .Add({{"server", "dtm_pg"}, {"postgresql", PG_VERSION}})
        .Set(1);
    for (const Total& t : totals) {
        impl_->by_name[t.name] =
            &BuildCounter().Name(t.name).Help(t.help).Register(impl_->registry).Add({});
    }
}

Metrics::~Metrics() = default;

void Metrics::request(Route route, bool ok, std::chrono::steady_clock::duration elapsed) {
    if (route == Route::ping) return;  // dtm does not count it either
    const Impl::Counted& m = impl_->of(route);
    (ok ? m.ok : m.fail)->Increment();
    m.seconds->Observe(std::chrono::duration<double>(elapsed).count());
}

void Metrics::round(core::TransType type, bool ok, core::Micros age) {
    const Impl::Counted& m = impl_->of(type);
    (ok ? m.ok : m.fail)->Increment();
    m.seconds->Observe(std::chrono::duration<double>(age).count());
}

void Metrics::branch(core::TransType type, std::string_view branch_id, std::string_view op,
                     bool ok) {
    const std::string id = bounded_branch_id(branch_id);
    const std::string kind = bounded_op(type, op);
    Counter*& counter = impl_->by_branch[{type, id, kind, ok}];
    if (counter == nullptr) {
        counter = &impl_->branches.Add({{"model", std::string(to_string(type))},
                                        {"branchid", id},
                                        {"branchtype", kind},
                                        {"status", ok ? "ok" : "fail"}});
    }
    counter->Increment();
}

void Metrics::look_at_coordinators() {
    std::map<Life, Counters> lives;
    for (const hub::SlotInfo& slot : hub::slots()) {
        if (slot.pid == 0) continue;  // its counters are those of the life before
        const Life life{slot.database, slot.worker, slot.pid, slot.started};
        Counters& now = lives[life];
        std::ranges::copy(slot.counters, now.begin());
        const auto before = impl_->lives.find(life);
        for (const Total& t : totals) {
            const auto c = static_cast<std::size_t>(t.counter);
            const std::uint64_t seen = before == impl_->lives.end() ? 0 : before->second[c];
            impl_->by_name.at(t.name)->Increment(static_cast<double>(now[c] - seen));
        }
    }
    impl_->lives = std::move(lives);
}

std::string Metrics::text(std::uint32_t connections, std::size_t waiting) {
    impl_->connections.Set(connections);
    impl_->waiting.Set(static_cast<double>(waiting));
    look_at_coordinators();
    return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace dtm::server
