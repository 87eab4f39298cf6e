// Changes of topics (dtm-compat.md 1.5.14-1.5.16): lock the topic, change its list, write it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

struct TopicChange {
    enum class Fault {
        none,
        unreadable,   // the stored list; removing the topic is the remedy
        no_topic,
        empty,        // the topic, so the url cannot be in it
        unknown_url,
        known_url,
    } fault = Fault::none;
    int subscribers = 0;  // after the change; of remove_topic: before it
};
// dtm's words for a fault (dtm-compat.md, appendix D).
std::string_view to_string(TopicChange::Fault);

TopicChange subscribe(const std::string& topic, const std::string& url, const std::string& remark);
TopicChange unsubscribe(const std::string& topic, const std::string& url);
TopicChange remove_topic(const std::string& topic);

// SqlError XX001 when the stored list cannot be read; an unknown topic has none.
std::vector<std::string> subscriber_urls(std::string_view topic);

}  // namespace dtm::store
