// See subscription.hpp.
#include "store/subscription.hpp"

#include "pg/spi.hpp"
#include "store/topics.hpp"
#include "wire/topic_list.hpp"

#include <algorithm>

namespace dtm::store {
namespace {

using Fault = TopicChange::Fault;

auto position(std::vector<wire::Subscriber>& all, const std::string& url) {
    return std::find_if(all.begin(), all.end(), [&](const auto& s) { return s.url == url; });
}

int size_of(const std::vector<wire::Subscriber>& all) { return static_cast<int>(all.size()); }

}  // namespace

std::string_view to_string(TopicChange::Fault fault) {
    switch (fault) {
        case Fault::none:
            break;
        case Fault::unreadable:
            return "the subscribers of the topic cannot be read";
        case Fault::no_topic:
            return "no such a topic";
        case Fault::empty:
            return "this topic is empty";
        case Fault::unknown_url:
            return "no such an url";
        case Fault::known_url:
            return "this url exists";
    }
    return "";
}

TopicChange subscribe(const std::string& topic, const std::string& url, const std::string& remark) {
    auto all = wire::parse_subscribers(lock_or_create_topic(topic));
    if (!all) return {Fault::unreadable};
    if (position(*all, url) != all->end()) return {Fault::known_url, size_of(*all)};
    all->push_back({url, remark});
    write_topic(topic, wire::print_subscribers(*all));
    return {Fault::none, size_of(*all)};
}

TopicChange unsubscribe(const std::string& topic, const std::string& url) {
    const auto text = lock_topic(topic);
    if (!text) return {Fault::no_topic};
    auto all = wire::parse_subscribers(*text);
    if (!all) return {Fault::unreadable};
    const auto found = position(*all, url);
    if (found == all->end()) {
        return {all->empty() ? Fault::empty : Fault::unknown_url, size_of(*all)};
    }
    all->erase(found);
    write_topic(topic, wire::print_subscribers(*all));
    return {Fault::none, size_of(*all)};
}

TopicChange remove_topic(const std::string& topic) {
    const auto text = lock_topic(topic);
    if (!text) return {Fault::no_topic};
    delete_topic(topic);
    const auto all = wire::parse_subscribers(*text);  // an unreadable one goes all the same
    return {Fault::none, all ? size_of(*all) : 0};
}

std::vector<std::string> subscriber_urls(std::string_view name) {
    const auto all = wire::parse_subscribers(topic(name).value_or("[]"));
    if (!all) {
        throw pg::SqlError("XX001",
                           "the subscribers of topic \"" + std::string(name) + "\" cannot be read",
                           "dtm.kv.v is not a JSON list of objects with url and remark.",
                           "dtm_drop_topic() removes the topic; then subscribe again.");
    }
    std::vector<std::string> urls;
    for (const wire::Subscriber& s : *all) urls.push_back(s.url);
    return urls;
}

}  // namespace dtm::store
