// What one client sends for one transaction: requests in the words of dtm's own Go client.
#pragma once

#include "driver/connection.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace driver {

// A whole HTTP request in which the gid is still to be filled in; all gids have one length.
class Template {
public:
    static std::string_view placeholder();
    explicit Template(std::string text);
    // The same bytes with this gid, valid until the next call.
    std::string_view with(std::string_view gid);

private:
    std::string text_;
    std::vector<std::size_t> holes_;
};

struct Step {
    enum class To : std::uint8_t { server, participant } to = To::server;
    bool submit = false;  // the last one, whose latency is measured
    Template request;
};

struct Target {
    Place server;
    std::string path = "/api/dtmsvr";
    Place participant;  // as the server can reach it
};

struct Workload {
    std::string name;  // "saga-10"
    std::string trans_type;
    unsigned branches = 0;
    bool wait_result = false;
    std::vector<Step> steps;
};

// `name`: saga-N: submit. msg-N: prepare, submit. tcc-N: prepare, N times registerBranch and a call
// of the branch's try, submit. Throws std::runtime_error for another name.
Workload make_workload(const std::string& name, bool wait_result, const Target& target);

std::string get_request(const Target& target, const std::string& call);

}  // namespace driver
