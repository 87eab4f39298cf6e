// What the tests of parse_submit() share: requests with one thing about them, and topics.
#pragma once

#include "wire/request.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace dtm::wire::test {

inline std::vector<std::string> topics(std::string_view topic) {
    if (topic == "one") return {"http://s1/a"};
    if (topic == "two") return {"http://s1/a", "http://s2/b"};
    if (topic == "bad") return {"ftp://s1/a"};
    return {};
}

inline core::Request parse(std::string_view text, const Limits& limits = {}) {
    return parse_submit(text, topics, limits);
}

// A saga of two steps with more members in front.
inline std::string saga(const std::string& members) {
    return "{" + members + (members.empty() ? "" : ",") +
           R"("trans_type":"saga","steps":[{"action":"http://a","compensate":"http://b"},)"
           R"({"action":"http://c"}],"payloads":["1","2"]})";
}
inline std::string msg(const std::string& members, const std::string& action = "http://a") {
    return "{" + members + (members.empty() ? "" : ",") +
           R"("trans_type":"msg","steps":[{"action":")" + action + R"("}],"payloads":["1"]})";
}
inline std::string one_step(const std::string& step, const std::string& payloads = R"(["1"])") {
    return R"({"trans_type":"saga","steps":[)" + step + R"(],"payloads":)" + payloads + "}";
}
inline std::string header(const std::string& json) {
    return saga(R"("branch_headers":{)" + json + "}");
}

}  // namespace dtm::wire::test
