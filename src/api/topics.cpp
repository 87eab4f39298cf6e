// dtm_subscribe, dtm_unsubscribe, dtm_drop_topic (dtm-compat.md 1.5.14-1.5.16). A message expands a
// topic when it is submitted, with the subscribers its snapshot shows; later changes do not touch
// it.
#include "api/result.hpp"
#include "store/access.hpp"
#include "store/subscription.hpp"
#include "wire/request.hpp"
#include "wire/topic_list.hpp"

namespace dtm::api {

namespace {

using store::TopicChange;

std::string required(FunctionCallInfo fcinfo, int n, const char* name, const char* wire_text) {
    std::string value = pg::opt_text_arg(fcinfo, n).value_or("");
    if (value.empty()) {
        throw pg::SqlError("TD001", wire_text, std::string("Field: ") + name,
                           std::string("The argument ") + name + " must not be NULL or ''.");
    }
    return value;
}

void check_url(const std::string& url) {
    try {
        wire::check_subscriber_url(url);
    } catch (const wire::BadRequest& bad) {
        throw pg::SqlError("TD001", bad.what(), "Field: url", bad.hint);
    }
}

int checked(const TopicChange& change, const std::string& topic, const std::string& url) {
    using Fault = TopicChange::Fault;
    const std::string text(to_string(change.fault));
    switch (change.fault) {
        case Fault::none:
            break;
        case Fault::unreadable:
            throw pg::SqlError("XX001",
                               "the subscribers of topic " + in_quotes(topic) + " cannot be read",
                               "dtm.kv.v is not a JSON list of objects with url and remark.",
                               "dtm_drop_topic() removes the topic; then subscribe again.");
        case Fault::no_topic:
            throw pg::SqlError("TD004", text, "Topic " + in_quotes(topic) + " does not exist.",
                               "dtm_subscribe(topic, url) creates a topic.");
        case Fault::empty:
        case Fault::unknown_url:
            throw pg::SqlError(
                "TD004", text,
                in_quotes(url) + " has not subscribed to topic " + in_quotes(topic) + ".",
                "dtm.topic lists the subscribers; addresses are compared byte by byte.");
        case Fault::known_url:
            throw pg::SqlError(
                "TD002", text,
                in_quotes(url) + " has subscribed to topic " + in_quotes(topic) + " already.",
                "To change its remark, unsubscribe it first.");
    }
    return change.subscribers;
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_subscribe) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    api::check_url(url);
    const std::string remark = pg::opt_text_arg(fcinfo, 2).value_or("");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::checked(store::subscribe(topic, url, remark), topic, url));
}

DTM_FUNCTION(dtm_unsubscribe) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::checked(store::unsubscribe(topic, url), topic, url));
}

DTM_FUNCTION(dtm_drop_topic) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::checked(store::remove_topic(topic), topic, {}));
}
