// See subscribers.hpp.
#include "store/subscribers.hpp"

#include "pg/call.hpp"
#include "wire/json.hpp"
#include "wire/request.hpp"

#include <algorithm>

namespace dtm::store {

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
    throw pg::SqlError("XX001",
                       "the subscribers of topic \"" + std::string(topic) + "\" cannot be read",
                       "dtm.kv.v is not a JSON list of objects with url and remark.",
                       "dtm_drop_topic() removes the topic; then subscribe again.");
}

namespace {

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

auto position(std::vector<Subscriber>& all, const std::string& url) {
    return std::ranges::find(all, url, &Subscriber::url);
}

TopicChange write(const std::string& topic, const std::vector<Subscriber>& all) {
    write_topic(topic, print_subscribers(all));
    return {TopicOutcome::done, static_cast<int>(all.size())};
}

}  // namespace

std::vector<std::string> subscriber_urls(std::string_view name) {
    std::vector<std::string> urls;
    for (Subscriber& s : parse_subscribers(name, topic(name).value_or("[]"))) {
        urls.push_back(std::move(s.url));
    }
    return urls;
}

void check_subscriber_url(const std::string& url) {
    if (url.starts_with("topic://")) {
        throw wire::BadRequest("url", "a topic cannot subscribe to a topic");
    }
    // It is called as a step of a message is: the same rules for its address.
    std::string json = "{\"trans_type\":\"msg\",\"payloads\":[\"\"],\"steps\":[{\"action\":";
    wire::json::append_string(json, url);
    json += "}]}";
    (void)wire::parse_submit(json, {});
}

std::string_view words(TopicOutcome outcome) {
    switch (outcome) {
        case TopicOutcome::done:
        case TopicOutcome::busy:
            break;
        case TopicOutcome::url_exists:
            return "this url exists";
        case TopicOutcome::no_topic:
            return "no such a topic";
        case TopicOutcome::empty_topic:
            return "this topic is empty";
        case TopicOutcome::no_url:
            return "no such an url";
    }
    return "";
}

TopicChange subscribe(const std::string& topic, const std::string& url, const std::string& remark,
                      Locks locks) {
    const LockedTopic locked = lock_or_create_topic(topic, locks);
    if (locked.busy) return {TopicOutcome::busy, 0};
    auto all = parse_subscribers(topic, *locked.text);
    if (position(all, url) != all.end()) return {TopicOutcome::url_exists, 0};
    all.push_back({url, remark});
    return write(topic, all);
}

TopicChange unsubscribe(const std::string& topic, const std::string& url, Locks locks) {
    const LockedTopic locked = lock_topic(topic, locks);
    if (locked.busy) return {TopicOutcome::busy, 0};
    if (!locked.text) return {TopicOutcome::no_topic, 0};
    auto all = parse_subscribers(topic, *locked.text);
    if (all.empty()) return {TopicOutcome::empty_topic, 0};
    const auto found = position(all, url);
    if (found == all.end()) return {TopicOutcome::no_url, 0};
    all.erase(found);
    return write(topic, all);
}

TopicChange drop_topic(const std::string& topic, Locks locks) {
    const LockedTopic locked = lock_topic(topic, locks);
    if (locked.busy) return {TopicOutcome::busy, 0};
    if (!locked.text) return {TopicOutcome::no_topic, 0};
    delete_topic(topic);
    TopicChange change;
    try {
        change.count = static_cast<int>(parse_subscribers(topic, *locked.text).size());
    } catch (const pg::SqlError&) {
        change.count = 0;  // an unreadable one is what this function is the remedy for
    }
    return change;
}

}  // namespace dtm::store
