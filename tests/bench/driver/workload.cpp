#include "driver/workload.hpp"

#include "driver/ledger.hpp"

#include <charconv>
#include <cstdio>
#include <stdexcept>

namespace driver {

namespace {

using namespace std::string_literals;

// Sixty bytes or so, as JSON text and as a JSON string that contains it.
const std::string payload =
    R"({"amount":30,"account":"a-benchmark-account","note":"sixty bytes or so"})";
const std::string quoted_payload =
    R"("{\"amount\":30,\"account\":\"a-benchmark-account\",\"note\":\"sixty bytes or so\"}")";

std::string gid() { return std::string(Template::placeholder()); }

std::string post(const Place& place, const std::string& path, const std::string& body) {
    return "POST " + path + " HTTP/1.1\r\nHost: " + place.text() +
           "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body;
}

std::string branch_id(unsigned n) {
    char text[16];
    std::snprintf(text, sizeof text, "%02u", n);
    return text;
}

class Maker {
public:
    Maker(Workload& workload, const Target& target) : workload_(workload), target_(target) {
        url_ = "http://" + target.participant.text() + "/";
    }

    void saga() { call("submit", trans(steps(R"(,"compensate":")" + url_ + R"(undo")"))); }

    void msg() {
        const auto body = trans(steps("") + R"(,"query_prepared":")" + url_ + R"(query")");
        call("prepare", body);
        call("submit", body);
    }

    void tcc() {
        call("prepare", trans(""));
        for (unsigned n = 1; n <= workload_.branches; ++n) {
            const auto id = branch_id(n);
            call("registerBranch", R"({"gid":")" + gid() + R"(","trans_type":"tcc","branch_id":")" +
                                       id + R"(","data":)" + quoted_payload + R"(,"confirm":")" +
                                       url_ + R"(confirm","cancel":")" + url_ + R"(cancel"})");
            const auto path = "/try?branch_id="s + id + "&dtm=" + target_.server.host +
                              "&gid=" + gid() + "&op=try&trans_type=tcc";
            workload_.steps.push_back(
                {Step::To::participant, false, Template(post(target_.participant, path, payload))});
        }
        call("submit", trans(""));
    }

private:
    std::string steps(const std::string& compensate) const {
        std::string list, payloads;
        for (unsigned n = 0; n < workload_.branches; ++n) {
            const auto* comma = n == 0 ? "" : ",";
            list += comma + R"({"action":")"s + url_ + R"(action")" + compensate + "}";
            payloads += comma + quoted_payload;
        }
        return R"(,"steps":[)" + list + R"(],"payloads":[)" + payloads + "]";
    }

    std::string trans(const std::string& members) const {
        return R"({"gid":")" + gid() + R"(","trans_type":")" + workload_.trans_type + R"(")" +
               (workload_.wait_result ? R"(,"wait_result":true)" : "") + R"(,"concurrent":false)" +
               members + R"(,"protocol":""})";
    }

    void call(const std::string& name, const std::string& body) {
        workload_.steps.push_back(
            {Step::To::server, name == "submit",
             Template(post(target_.server, target_.path + "/" + name, body))});
    }

    Workload& workload_;
    const Target& target_;
    std::string url_;
};

}  // namespace

std::string_view Template::placeholder() {
    static const std::string text(Ledger::gid_length, '#');
    return text;
}

Template::Template(std::string text) : text_(std::move(text)) {
    for (std::size_t at = 0; (at = text_.find(placeholder(), at)) != std::string::npos;
         at += Ledger::gid_length)
        holes_.push_back(at);
}

std::string_view Template::with(std::string_view gid) {
    for (const auto hole : holes_) text_.replace(hole, gid.size(), gid);
    return text_;
}

Workload make_workload(const std::string& name, bool wait_result, const Target& target) {
    Workload workload;
    workload.name = name;
    workload.wait_result = wait_result;
    const auto dash = name.find('-');
    workload.trans_type = name.substr(0, dash);
    if (dash != std::string::npos)
        std::from_chars(name.data() + dash + 1, name.data() + name.size(), workload.branches);
    const bool known = workload.trans_type == "saga" || workload.trans_type == "msg" ||
                       workload.trans_type == "tcc";
    if (!known || workload.branches < 1 || workload.branches > Ledger::max_branches)
        throw std::runtime_error("workload \"" + name +
                                 "\": it is saga-N, msg-N or tcc-N, N from 1 to " +
                                 std::to_string(Ledger::max_branches));
    Maker maker(workload, target);
    if (workload.trans_type == "saga") maker.saga();
    if (workload.trans_type == "msg") maker.msg();
    if (workload.trans_type == "tcc") maker.tcc();
    return workload;
}

std::string get_request(const Target& target, const std::string& call) {
    return "GET " + target.path + "/" + call + " HTTP/1.1\r\nHost: " + target.server.text() +
           "\r\n\r\n";
}

}  // namespace driver
