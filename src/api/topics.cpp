// dtm_subscribe, dtm_unsubscribe, dtm_drop_topic (dtm-compat.md 1.5.14-1.5.16). A message expands a
// topic when it is submitted, with the subscribers its snapshot shows; later changes do not touch
// it.
#include "api/topic_list.hpp"

#include "api/result.hpp"
#include "store/access.hpp"
#include "store/topics.hpp"
#include "wire/json.hpp"
#include "wire/request.hpp"

#include <algorithm>

namespace dtm::api {

std::vector<Subscriber> parse_subscribers(std::string_view topic, std::string_view text) {
    using wire::json::Kind;
    std::vector<Subscriber> all;
    try {
        const wire::json::Document document(text, 8);
        const auto list = document.root();
        bool good = list.kind() == Kind::array;
        for (std::size_t i = 0; good && i < list.size(); ++i) {
            const auto url = list.at(i).find("url");
            const auto remark = list.at(i).find("remark");
            good = url.kind() == Kind::string;
            if (!good) break;
            all.push_back({std::string(url.string()), remark.kind() == Kind::string
                                                          ? std::string(remark.string())
                                                          : std::string()});
        }
        if (good) return all;
    } catch (const wire::json::SyntaxError&) {}
    throw pg::SqlError("XX001", "the subscribers of topic " + in_quotes(topic) + " cannot be read",
                       "dtm.kv.v is not a JSON list of objects with url and remark.",
                       "dtm_drop_topic() removes the topic; then subscribe again.");
}

std::string print_subscribers(const std::vector<Subscriber>& all) {
    std::string out = "[";
    for (const Subscriber& s : all) {
        if (out.size() > 1) out += ',';
        wire::json::append_string(out += "{\"url\":", s.url);
        wire::json::append_string(out += ",\"remark\":", s.remark);
        out += '}';
    }
    return out += ']';
}

namespace {

std::string required(FunctionCallInfo fcinfo, int n, const char* name, const char* wire_text) {
    std::string value = pg::opt_text_arg(fcinfo, n).value_or("");
    if (value.empty()) {
        throw pg::SqlError("TD001", wire_text, std::string("Field: ") + name,
                           std::string("The argument ") + name + " must not be NULL or ''.");
    }
    return value;
}

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
    }
}

}  // namespace

}  // namespace dtm::api

using namespace dtm;

DTM_FUNCTION(dtm_subscribe) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    api::check_subscriber_url(url);
    const int count = api::subscribe(topic, url, pg::opt_text_arg(fcinfo, 2).value_or(""));
    PG_RETURN_INT32(count);
}

DTM_FUNCTION(dtm_unsubscribe) {
    const std::string topic = api::required(fcinfo, 0, "topic", "empty topic");
    const std::string url = api::required(fcinfo, 1, "url", "empty url");
    PG_RETURN_INT32(api::unsubscribe(topic, url));
}

DTM_FUNCTION(dtm_drop_topic) {
    PG_RETURN_INT32(api::drop_topic(api::required(fcinfo, 0, "topic", "empty topic")));
}
