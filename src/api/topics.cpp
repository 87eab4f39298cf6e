// dtm_subscribe, dtm_unsubscribe, dtm_drop_topic (dtm-compat.md 1.5.14-1.5.16). A message expands a
// topic when it is submitted, with the subscribers its snapshot shows; later changes do not touch
// it.
#include "api/result.hpp"
#include "store/access.hpp"
#include "store/subscribers.hpp"
#include "wire/request.hpp"

namespace dtm::api {

namespace {

using store::TopicOutcome;

std::string required(FunctionCallInfo fcinfo, int n, const char* name, const char* wire_text) {
    std::string value = pg::opt_text_arg(fcinfo, n).value_or("");
    if (value.empty()) {
        throw pg::SqlError("TD001", wire_text, std::string("Field: ") + name,
                           std::string("The argument ") + name + " must not be NULL or ''.");
    }
    return value;
}

<<<<<<< HEAD
}  // namespace

// A subscriber is called as a step of a message is: the same rules for its address.
void check_subscriber_url(const std::string& url) {
    std::string json = "{\"trans_type\":\"msg\",\"payloads\":[\"\"],\"steps\":[{\"action\":";
    wire::json::append_string(json, url);
    json += "}]}";
    if (url.starts_with("topic://")) {
        throw pg::SqlError("TD001", "a topic cannot subscribe to a topic", "Field: url");
    }
    try {
        (void)wire::parse_submit(json, {});
    } catch (const wire::BadRequest& bad) {
        throw pg::SqlError("TD001", bad.what(), "Field: url", bad.hint);
    }
}

namespace {

[[noreturn]] void no_such_topic(const std::string& topic) {
    throw pg::SqlError("TD004", "no such a topic", "Topic " + in_quotes(topic) + " does not exist.",
                       "dtm_subscribe(topic, url) creates a topic.");
}

auto position(std::vector<Subscriber>& all, const std::string& url) {
    return std::find_if(all.begin(), all.end(), [&](const Subscriber& s) { return s.url == url; });
}

int subscribe(const std::string& topic, const std::string& url, const std::string& remark) {
    const store::AsOwner as_owner;
    auto all = parse_subscribers(topic, store::lock_or_create_topic(topic));
    if (position(all, url) != all.end()) {
        throw pg::SqlError(
            "TD002", "this url exists",
            in_quotes(url) + " has subscribed to topic " + in_quotes(topic) + " already.",
            "To change its remark, unsubscribe it first.");
    }
    all.push_back({url, remark});
    store::write_topic(topic, print_subscribers(all));
    return static_cast<int>(all.size());
}

int unsubscribe(const std::string& topic, const std::string& url) {
    const store::AsOwner as_owner;
    const auto text = store::lock_topic(topic);
    if (!text) no_such_topic(topic);
    auto all = parse_subscribers(topic, *text);
    const auto found = position(all, url);
    if (found == all.end()) {
        throw pg::SqlError(
            "TD004", all.empty() ? "this topic is empty" : "no such an url",
            in_quotes(url) + " has not subscribed to topic " + in_quotes(topic) + ".",
            "dtm.topic lists the subscribers; addresses are compared byte by byte.");
    }
    all.erase(found);
    store::write_topic(topic, print_subscribers(all));
    return static_cast<int>(all.size());
}

int drop_topic(const std::string& topic) {
    const store::AsOwner as_owner;
    const auto text = store::lock_topic(topic);
    if (!text) no_such_topic(topic);
    store::delete_topic(topic);
    try {
        return static_cast<int>(parse_subscribers(topic, *text).size());
    } catch (const pg::SqlError&) {
        return 0;  // an unreadable one is what this function is the remedy for
=======
int count_of(const store::TopicChange& change, const std::string& topic,
             const std::string& url = "") {
    const std::string message(store::words(change.outcome));
    switch (change.outcome) {
        case TopicOutcome::done:
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
>>>>>>> i6-store
    }
    return change.count;
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_subscribe) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    try {
        store::check_subscriber_url(url);
    } catch (const wire::BadRequest& bad) {
        throw pg::SqlError("TD001", bad.what(), "Field: url", bad.hint);
    }
    const std::string remark = pg::opt_text_arg(fcinfo, 2).value_or("");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::count_of(store::subscribe(topic, url, remark), topic, url));
}

DTM_FUNCTION(dtm_unsubscribe) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::count_of(store::unsubscribe(topic, url), topic, url));
}

DTM_FUNCTION(dtm_drop_topic) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const store::AsOwner as_owner;
    PG_RETURN_INT32(api::count_of(store::drop_topic(topic), topic));
}
