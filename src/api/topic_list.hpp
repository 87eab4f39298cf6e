// The value of a topic: JSON text [{"url":…,"remark":…}, …], as dtm keeps it in its kv table.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace dtm::api {

struct Subscriber {
    std::string url;
    std::string remark;
};

// SqlError XX001 when the stored text is not such a list.
std::vector<Subscriber> parse_subscribers(std::string_view topic, std::string_view text);
std::string print_subscribers(const std::vector<Subscriber>&);
void check_subscriber_url(const std::string& url);

}  // namespace dtm::api
