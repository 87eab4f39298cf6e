// Steps, payloads and topics; see steps.hpp.
#include "wire/steps.hpp"

#include "wire/fields.hpp"
#include "wire/rpc_branch.hpp"
#include "wire/rules.hpp"

#include <cstdio>

namespace dtm::wire {

namespace {

using core::Branch;
using core::Request;
using core::TransType;
using json::Kind;
using json::Value;

std::string step_id(std::size_t step) {
    char text[24];
    std::snprintf(text, sizeof text, "%02zu", step + 1);
    return text;
}

std::string subscriber_id(std::size_t step, std::size_t subscriber) {
    return step_id(step) + "-" + step_id(subscriber);
}

class StepsReader {
public:
    StepsReader(const TopicLookup& topics, const Limits& limits, Request& request)
        : topics_(topics), limits_(limits), request_(request) {}

    void read(Value object) {
        const Path path(top_, "steps");
        const Value steps = object.find("steps");
        if (!steps.is_null() && steps.kind() != Kind::array) wrong_kind(path, "a list", steps);
        if (steps.size() == 0) {
            path.fail(steps.is_null() ? "steps are missing" : "there must be at least one step",
                      "steps is a list of objects with the keys action and compensate.");
        }
        if (steps.size() > limits_.max_steps) {
            path.fail("there are " + std::to_string(steps.size()) + " steps, the limit is " +
                      std::to_string(limits_.max_steps));
        }
        read_payloads(object.find("payloads"));
        for (std::size_t i = 0; i < steps.size(); ++i) {
            const Path step_path(path, i);
            const Value step = steps.at(i);
            if (step.kind() != Kind::object) {
                step_path.fail(
                    "a step must be an object with the keys action and compensate, not " +
                    std::string(json::article(step.kind())));
            }
            read_step(step_path, step, i);
        }
        if (request_.payloads.size() < steps.size()) {
            Path(top_, "payloads")
                .fail("there are " + std::to_string(steps.size()) + " steps, but only " +
                          std::to_string(request_.payloads.size()) + " payloads",
                      "payloads has one string per step; \"\" calls the step with GET.");
        }
        request_.payloads.resize(steps.size());  // dtm ignores the rest, too
        check_payloads();
    }

private:
    void read_payloads(Value payloads) {
        const Path path(top_, "payloads");
        if (payloads.is_null()) return;
        if (payloads.kind() != Kind::array) wrong_kind(path, "a list", payloads);
        request_.payloads.reserve(payloads.size());
        for (std::size_t i = 0; i < payloads.size(); ++i) {
            request_.payloads.emplace_back(read_string(
                Path(path, i), payloads.at(i),
                "A payload is the text of the request's body: write JSON as a string."));
        }
    }

    void read_step(const Path& path, Value step, std::size_t index) {
        // The form of old clients: the payload inside of the step (dtm-compat.md 1.4.2).
        const std::string_view data = read_string(Path(path, "data"), step.find("data"));
        if (!data.empty()) request_.payloads.emplace_back(data);

        const Path action_path(path, "action");
        const std::string_view action = read_string(action_path, step.find("action"));
        if (request_.type == TransType::msg) {
            if (action.starts_with(topic_scheme)) {
                add_subscribers(action_path, action.substr(topic_scheme.size()), index);
                return;
            }
            check_url(action_path, action);
            add_branch(action_path, step_id(index), action, {}, index);
            return;
        }
        check_url(action_path, action);
        const Path compensate_path(path, "compensate");
        const std::string_view compensate = read_string(compensate_path, step.find("compensate"));
        check_url(compensate_path, compensate);
        add_branch(action_path, step_id(index), action, compensate, index);
    }

    void add_subscribers(const Path& path, std::string_view topic, std::size_t index) {
        // The clients look for this text (dtm-compat.md appendix D).
        constexpr const char* not_found = "topic not found";
        if (topic.empty()) path.fail(not_found, "The name of the topic is empty.");
        const std::vector<std::string> urls = topics_ ? topics_(topic) : std::vector<std::string>();
        if (urls.empty())
            path.fail(not_found, "Nobody has subscribed to topic " + quoted(topic) + ".");
        for (std::size_t i = 0; i < urls.size(); ++i) {
            check_url(path, urls[i]);
            add_branch(path, urls.size() == 1 ? step_id(index) : subscriber_id(index, i), urls[i],
                       {}, index);
        }
    }

    void add_branch(const Path& path, std::string id, std::string_view action,
                    std::string_view compensate, std::size_t step) {
        if (request_.branches.size() == limits_.max_steps) {
            path.fail("the topics have too many subscribers: the limit is " +
                      std::to_string(limits_.max_steps) + " calls for one request");
        }
        Branch branch;
        branch.branch_id = std::move(id);
        branch.action = action;
        branch.compensate = compensate;
        branch.step = static_cast<std::uint32_t>(step);
        request_.branches.push_back(std::move(branch));
    }

    void check_payloads() const {
        const Path list(top_, "payloads");
        for (const Branch& branch : request_.branches) {
            if (calls_json_rpc(request_.protocol, branch.action) ||
                calls_json_rpc(request_.protocol, branch.compensate)) {
                check_rpc_payload(Path(list, branch.step), request_.payloads[branch.step]);
            }
        }
    }

    const TopicLookup& topics_;
    const Limits& limits_;
    Path top_;
    Request& request_;
};

}  // namespace

void read_steps(Value object, const TopicLookup& topics, const Limits& limits, Request& request) {
    StepsReader(topics, limits, request).read(object);
}

}  // namespace dtm::wire
