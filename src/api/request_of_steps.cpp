// See request_of_steps.hpp.
#include "api/request_of_steps.hpp"

#include "api/jsonb.hpp"
#include "wire/json.hpp"

extern "C" {
#include "utils/array.h"
}

namespace dtm::api {

namespace {

using wire::BadRequest;

struct Option {
    std::string_view name;
    bool saga;
    bool msg;
};
// branch_headers … timeout_to_fail travel under their own names; concurrent and delay, see Builder.
constexpr Option known_options[] = {
    {"branch_headers", true, true}, {"concurrent", true, true},   {"delay", false, true},
    {"exact_progress", true, true}, {"protocol", true, true},     {"request_timeout", true, true},
    {"retry_interval", true, true}, {"retry_limit", true, false}, {"timeout_to_fail", true, true},
};

std::string names_of_options() {
    std::string names;
    for (const Option& o : known_options) {
        if (!names.empty()) names += ", ";
        names += o.name;
    }
    return names;
}

class Builder {
public:
    explicit Builder(std::string_view trans_type)
        : saga_(trans_type == "saga"), msg_(trans_type == "msg") {}

    void read_options(Jsonb* options) {
        if (!is_object(options)) {
            throw BadRequest("$.options", "options must be a JSON object",
                             "For example '{\"timeout_to_fail\": 60}'.");
        }
        for (const JsonbMember& m : members(options)) {
            check_option(m.key);
            if (is_null(m.value)) continue;  // as if it were not there
            if (m.key == "delay" || (m.key == "concurrent" && !msg_)) {
                add_custom(m.key, jsonb_text(m.value));
                if (m.key == "concurrent")
                    concurrent_ = m.value.type == jbvBool && m.value.val.boolean;
                if (m.key == "concurrent") concurrent_given_ = true;
            } else {
                fields_ += ",\"";
                fields_ += m.key;
                fields_ += "\":";
                fields_ += jsonb_text(m.value);
            }
        }
    }

    void read_step(std::size_t index, Jsonb* step) {
        const std::string path = "$.steps[" + std::to_string(index) + "]";
        if (!is_object(step)) {
            throw BadRequest(path, "a step must be a JSON object", "dtm_step() makes one.");
        }
        std::string_view payload;
        steps_ += index == 0 ? "{" : ",{";
        std::size_t first = steps_.size();
        for (const JsonbMember& m : members(step)) {
            if (m.key == "payload") {
                payload = jsonb_text(m.value);  // also null: four bytes, and not "no body"
            } else if (m.key == "after") {
                if (!is_null(m.value)) add_order(path, index, m.value);
            } else if (m.key == "action" || m.key == "compensate") {
                add_url(path, m, first);
            } else {
                throw BadRequest(path + "." + std::string(m.key),
                                 "unknown key \"" + std::string(m.key) + "\" in a step",
                                 "A step has the keys action, compensate, payload and after.");
            }
        }
        steps_ += '}';
        if (index > 0) payloads_ += ',';
        wire::json::append_string(payloads_, payload);
    }

    std::string finish(std::string_view trans_type, const std::optional<std::string>& gid) {
        if (!orders_.empty()) {
            if (!concurrent_given_) add_custom("concurrent", "true");
            add_custom("orders", "{" + orders_ + "}");
        }
        std::string out = "{\"trans_type\":";
        wire::json::append_string(out, trans_type);
        if (gid) wire::json::append_string(out += ",\"gid\":", *gid);
        out += ",\"steps\":[" + steps_ + "],\"payloads\":[" + payloads_ + "]" + fields_;
        if (!custom_.empty()) {
            wire::json::append_string(out += ",\"custom_data\":", "{" + custom_ + "}");
        }
        return out += "}";
    }

private:
    void check_option(std::string_view name) const {
        const std::string path = "$.options." + std::string(name);
        for (const Option& o : known_options) {
            if (o.name != name) continue;
            if ((saga_ && !o.saga) || (msg_ && !o.msg)) {
                throw BadRequest(path, "option \"" + std::string(name) + "\" does not apply to a " +
                                           (saga_ ? "saga" : "msg"));
            }
            return;
        }
        throw BadRequest(path, "unknown option \"" + std::string(name) + "\"",
                         "Known options: " + names_of_options() + ".");
    }

    void add_url(const std::string& path, const JsonbMember& m, std::size_t first) {
        if (is_null(m.value)) return;
        if (msg_ && m.key == "compensate") {
            throw BadRequest(path + ".compensate", "a step of a msg has no compensation",
                             "A message is delivered until it succeeds. Submit a saga to have its "
                             "steps undone.");
        }
        if (steps_.size() > first) steps_ += ',';
        steps_ += '"';
        steps_ += m.key;
        steps_ += "\":";
        steps_ += jsonb_text(m.value);
    }

    void add_order(const std::string& path, std::size_t index, const JsonbValue& value) {
        if (msg_) {
            throw BadRequest(path + ".after", "the steps of a msg have no order among each other",
                             "Without the option concurrent they are called one after the other.");
        }
        if (concurrent_given_ && !concurrent_) {
            throw BadRequest(path + ".after",
                             "after needs a concurrent saga, and the options say "
                             "that this one is not",
                             "Leave the option concurrent out: after implies it.");
        }
        if (!orders_.empty()) orders_ += ',';
        orders_ += "\"" + std::to_string(index) + "\":";
        orders_ += jsonb_text(value);
    }

    void add_custom(std::string_view name, std::string_view json) {
        if (!custom_.empty()) custom_ += ',';
        custom_ += "\"";
        custom_ += name;
        custom_ += "\":";
        custom_ += json;
    }

    bool saga_;
    bool msg_;
    bool concurrent_ = false;
    bool concurrent_given_ = false;
    std::string fields_, custom_, steps_, payloads_, orders_;
};

}  // namespace

std::string request_of_steps(const StepsForm& form) {
    if (!form.trans_type) {
        throw BadRequest("$.trans_type", "trans_type is NULL", "trans_type is 'saga' or 'msg'.");
    }
    Builder builder(*form.trans_type);
    if (form.options) builder.read_options(jsonb_of(*form.options));

    Datum* steps = nullptr;
    bool* nulls = nullptr;
    int count = 0;
    if (form.steps) {
        pg::call([&] {
            deconstruct_array(DatumGetArrayTypeP(*form.steps), JSONBOID, -1, false, TYPALIGN_INT,
                              &steps, &nulls, &count);
        });
    }
    if (count == 0) {
        throw BadRequest(
            "$.steps", form.steps ? "there must be at least one step" : "steps is NULL",
            "For example ARRAY[dtm_step('http://service/act', 'http://service/undo')].");
    }
    for (int i = 0; i < count; ++i) {
        if (nulls[i]) {
            throw BadRequest("$.steps[" + std::to_string(i) + "]", "a step is NULL",
                             "Steps are numbered from 0. array_remove(steps, NULL) drops them.");
        }
        builder.read_step(static_cast<std::size_t>(i), jsonb_of(steps[i]));
    }
    return builder.finish(*form.trans_type, form.gid);
}

namespace {

std::string argument_path(const std::string& path) {
    constexpr std::string_view orders = "$.custom_data.orders[\"";
    constexpr std::string_view custom = "$.custom_data.";
    constexpr std::string_view payloads = "$.payloads[";
    if (path.starts_with(orders)) {
        const auto end = path.find("\"]", orders.size());
        if (end == std::string::npos) return "$.steps";
        return "$.steps[" + path.substr(orders.size(), end - orders.size()) + "].after" +
               path.substr(end + 2);
    }
    if (path.starts_with("$.custom_data.orders")) return "$.steps";
    if (path.starts_with(custom)) return "$.options." + path.substr(custom.size());
    if (path.starts_with(payloads)) return "$.steps[" + path.substr(payloads.size()) + ".payload";
    for (const Option& o : known_options) {
        const std::string own = "$." + std::string(o.name);
        if (path.starts_with(own) &&
            (path.size() == own.size() || path[own.size()] == '.' || path[own.size()] == '[')) {
            return "$.options" + path.substr(1);
        }
    }
    return path;
}

}  // namespace

wire::BadRequest in_words_of_steps(const wire::BadRequest& bad) {
    std::string message = bad.what();
    constexpr std::string_view custom = "custom_data.";
    if (message.starts_with(custom)) message.erase(0, custom.size());
    return {argument_path(bad.path), std::move(message), bad.hint};
}

}  // namespace dtm::api
