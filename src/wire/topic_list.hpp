// The value of a topic: JSON text [{"url":…,"remark":…}, …], as dtm keeps it in its kv table.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dtm::wire {

struct Subscriber {
    std::string url;
    std::string remark;
};

// nullopt: the text is no such list.
std::optional<std::vector<Subscriber>> parse_subscribers(std::string_view text);
std::string print_subscribers(const std::vector<Subscriber>&);

// A subscriber is called as a step of a message is: the same rules for its address. Throws
// BadRequest with path "url".
void check_subscriber_url(const std::string& url);

}  // namespace dtm::wire
