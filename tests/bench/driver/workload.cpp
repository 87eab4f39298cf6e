#include "driver/workload.hpp"

#include "driver/ledger.hpp"

#include <charconv>
#include <cstdio>
#include <stdexcept>

namespace driver {

namespace {

// The bodies are those of dtm's Go client (dtm-compat.md, appendix B); $… is filled in.
constexpr std::string_view payload =
    R"({"amount":30,"account":"a-benchmark-account","note":"sixty bytes or so"})";
constexpr std::string_view quoted_payload =
    R"("{\"amount\":30,\"account\":\"a-benchmark-account\",\"note\":\"sixty bytes or so\"}")";
constexpr std::string_view saga_step = R"({"action":"$echo/action","compensate":"$echo/undo"})";
constexpr std::string_view msg_step = R"({"action":"$echo/action"})";
constexpr std::string_view saga_body =
    R"({"gid":"$gid","trans_type":"saga",$wait"concurrent":false,"steps":[$steps],"payloads":[$payloads],"protocol":""})";
constexpr std::string_view msg_body =
    R"({"gid":"$gid","trans_type":"msg",$wait"concurrent":false,"steps":[$steps],"payloads":[$payloads],"query_prepared":"$echo/query","protocol":""})";
constexpr std::string_view tcc_body =
    R"({"gid":"$gid","trans_type":"tcc",$wait"concurrent":false,"protocol":""})";
constexpr std::string_view tcc_branch =
    R"({"gid":"$gid","trans_type":"tcc","branch_id":"$id","data":$payload,"confirm":"$echo/confirm","cancel":"$echo/cancel"})";
constexpr std::string_view try_call =
    "/try?branch_id=$id&dtm=$server&gid=$gid&op=try&trans_type=tcc";

std::string replace(std::string text, std::string_view what, std::string_view by) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
        text.replace(at, what.size(), by);
    return text;
}

std::string repeat(std::string_view text, unsigned times) {
    std::string list;
    for (unsigned n = 0; n < times; ++n) list.append(n == 0 ? "" : ",").append(text);
    return list;
}

std::string branch_id(unsigned n) {
    char text[16];
    std::snprintf(text, sizeof text, "%02u", n);
    return text;
}

class Maker {
public:
    Maker(Workload& workload, const Target& target) : workload_(workload), target_(target) {}

    void saga() { call("submit", listed(saga_body, saga_step)); }

    void msg() {
        const auto body = listed(msg_body, msg_step);
        call("prepare", body);
        call("submit", body);
    }

    void tcc() {
        call("prepare", std::string(tcc_body));
        for (unsigned n = 1; n <= workload_.branches; ++n) {
            const auto id = branch_id(n);
            call("registerBranch", replace(std::string(tcc_branch), "$id", id));
            add(Step::To::participant, replace(std::string(try_call), "$id", id),
                std::string(payload));
        }
        call("submit", std::string(tcc_body));
    }

private:
    std::string listed(std::string_view body, std::string_view step) const {
        return replace(replace(std::string(body), "$steps", repeat(step, workload_.branches)),
                       "$payloads", repeat(quoted_payload, workload_.branches));
    }

    void call(const std::string& name, const std::string& body) {
        add(Step::To::server, target_.path + "/" + name, body);
        workload_.steps.back().submit = name == "submit";
    }

    void add(Step::To to, std::string path, std::string body) {
        const auto& place = to == Step::To::server ? target_.server : target_.participant;
        path = filled(std::move(path));
        body = filled(std::move(body));
        workload_.steps.push_back(
            {to, false,
             Template("POST " + path + " HTTP/1.1\r\nHost: " + place.text() +
                      "\r\nContent-Type: application/json\r\nContent-Length: " +
                      std::to_string(body.size()) + "\r\n\r\n" + body)});
    }

    std::string filled(std::string text) const {
        text = replace(std::move(text), "$payload", quoted_payload);
        text = replace(std::move(text), "$wait",
                       workload_.wait_result ? R"("wait_result":true,)" : "");
        text = replace(std::move(text), "$echo", "http://" + target_.participant.text());
        text = replace(std::move(text), "$server", target_.server.text());
        return replace(std::move(text), "$gid", Template::placeholder());
    }

    Workload& workload_;
    const Target& target_;
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
