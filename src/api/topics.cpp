// dtm_subscribe, dtm_unsubscribe, dtm_drop_topic (dtm-compat.md 1.5.14-1.5.16). A message expands a
// topic when it is submitted, with the subscribers its snapshot shows; later changes do not touch
// it.
#include "api/orders.hpp"
#include "api/result.hpp"
#include "store/access.hpp"
#include "store/control.hpp"
#include "store/subscribers.hpp"
#include "wire/request.hpp"

namespace dtm::api {

namespace {

using store::TopicOutcome;
constexpr auto wait = store::Locks::wait;

std::string required(FunctionCallInfo fcinfo, int n, const char* name, const char* wire_text) {
    std::string value = pg::opt_text_arg(fcinfo, n).value_or("");
    if (value.empty()) {
        throw pg::SqlError("TD001", wire_text, std::string("Field: ") + name,
                           std::string("The argument ") + name + " must not be NULL or ''.");
    }
    return value;
}

int count_of(const store::TopicChange& change, const std::string& topic,
             const std::string& url = "") {
    const std::string message(store::words(change.outcome));
    switch (change.outcome) {
        case TopicOutcome::done:
        case TopicOutcome::busy:  // not for who waits
            break;
        case TopicOutcome::url_exists:
            throw pg::SqlError(
                "TD002", message,
                in_quotes(url) + " has subscribed to topic " + in_quotes(topic) + " already.",
                "To change its remark, unsubscribe it first.");
        case TopicOutcome::no_topic:
            throw pg::SqlError("TD004", message, "Topic " + in_quotes(topic) + " does not exist.",
                               "dtm_subscribe(topic, url) creates a topic.");
        case TopicOutcome::empty_topic:
        case TopicOutcome::no_url:
            throw pg::SqlError(
                "TD004", message,
                in_quotes(url) + " has not subscribed to topic " + in_quotes(topic) + ".",
                "dtm.topic lists the subscribers; addresses are compared byte by byte.");
    }
    return change.count;
}

// Within a store::AsOwner.
int recorded(const store::TopicChange& change, const char* verb, const std::string& topic,
             const std::string& url = "") {
    const int count = count_of(change, topic, url);
    store::record_event("", verb, session_role(), store::topic_event(topic, url));
    return count;
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_subscribe) {
    api::require_writable("dtm_subscribe");
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    try {
        store::check_subscriber_url(url);
    } catch (const wire::BadRequest& bad) {
        throw pg::SqlError("TD001", bad.what(), "Field: url", bad.hint);
    }
    const std::string remark = pg::opt_text_arg(fcinfo, 2).value_or("");
    if (topic.size() > store::longest_topic) {
        throw pg::SqlError("TD001", std::string(store::too_long), "Field: topic");
    }
    if (remark.size() > store::longest_remark) {
        throw pg::SqlError("TD001", std::string(store::too_long), "Field: remark");
    }
    const store::AsOwner as_owner;
    PG_RETURN_INT32(
        api::recorded(store::subscribe(topic, url, remark, api::wait), "subscribe", topic, url));
}

DTM_FUNCTION(dtm_unsubscribe) {
    api::require_writable("dtm_unsubscribe");
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(
        api::recorded(store::unsubscribe(topic, url, api::wait), "unsubscribe", topic, url));
}

DTM_FUNCTION(dtm_drop_topic) {
    api::require_writable("dtm_drop_topic");
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::recorded(store::drop_topic(topic, api::wait), "drop_topic", topic));
}
