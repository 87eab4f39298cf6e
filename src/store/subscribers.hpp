// Subscribers of topics (dtm-compat.md 5.9): the value of a topic is the JSON text
// [{"url":…,"remark":…}, …], as dtm keeps it. Of two sessions that change one topic, one waits for
// the other, or comes back later: `busy`. Runs within a store::AsOwner.
#pragma once

#include "store/topics.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dtm::store {

struct Subscriber {
    std::string url;
    std::string remark;
};

// SqlError XX001 when the stored text is not such a list.
std::vector<Subscriber> parse_subscribers(std::string_view topic, std::string_view text);

// A wire::TopicLookup: whom a message to the topic calls. Empty: nobody, or no such topic.
std::vector<std::string> subscriber_urls(std::string_view topic);

// A name is part of a key, and all remarks of a topic are read with it.
inline constexpr std::size_t longest_topic = 255;
inline constexpr std::size_t longest_remark = 4096;
inline constexpr std::string_view too_long =
    "the name of a topic may have 255 bytes, a remark 4096";

// Throws wire::BadRequest when no message could call this URL.
void check_subscriber_url(const std::string& url);

enum class TopicOutcome : std::uint8_t { done, url_exists, no_topic, empty_topic, no_url, busy };
struct TopicChange {
    TopicOutcome outcome = TopicOutcome::done;
    int count = 0;  // of subscribers: left, or of a dropped topic had
};
// dtm's words for what is not done: "this url exists".
std::string_view words(TopicOutcome);

// Makes the topic when there is none.
TopicChange subscribe(const std::string& topic, const std::string& url, const std::string& remark,
                      Locks locks);
// The topic stays.
TopicChange unsubscribe(const std::string& topic, const std::string& url, Locks locks);
// Also one whose text cannot be read.
TopicChange drop_topic(const std::string& topic, Locks locks);

}  // namespace dtm::store
