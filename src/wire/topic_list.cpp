// See topic_list.hpp.
#include "wire/topic_list.hpp"

#include "wire/json.hpp"
#include "wire/request.hpp"
#include "wire/rules.hpp"

namespace dtm::wire {

std::optional<std::vector<Subscriber>> parse_subscribers(std::string_view text) {
    using json::Kind;
    std::vector<Subscriber> all;
    try {
        const json::Document document(text, 8);
        const auto list = document.root();
        if (list.kind() != Kind::array) return std::nullopt;
        for (std::size_t i = 0; i < list.size(); ++i) {
            const auto url = list.at(i).find("url");
            const auto remark = list.at(i).find("remark");
            if (url.kind() != Kind::string) return std::nullopt;
            all.push_back({std::string(url.string()), remark.kind() == Kind::string
                                                          ? std::string(remark.string())
                                                          : std::string()});
        }
    } catch (const json::SyntaxError&) {
        return std::nullopt;
    }
    return all;
}

std::string print_subscribers(const std::vector<Subscriber>& all) {
    std::string out = "[";
    for (const Subscriber& s : all) {
        if (out.size() > 1) out += ',';
        json::append_string(out += "{\"url\":", s.url);
        json::append_string(out += ",\"remark\":", s.remark);
        out += '}';
    }
    return out += ']';
}

void check_subscriber_url(const std::string& url) {
    if (url.starts_with(topic_scheme)) {
        throw BadRequest("url", "a topic cannot subscribe to a topic");
    }
    std::string json = "{\"trans_type\":\"msg\",\"payloads\":[\"\"],\"steps\":[{\"action\":";
    json::append_string(json, url);
    json += "}]}";
    try {
        (void)parse_submit(json, {});
    } catch (const BadRequest& bad) {
        throw BadRequest("url", bad.what(), bad.hint);
    }
}

}  // namespace dtm::wire
