// parse_trans(): the transaction object as each of the API's commands takes it.
#include "wire/api_request.hpp"

#include "wire/fields.hpp"
#include "wire/rules.hpp"
#include "wire/text.hpp"
#include "wire/trans_reader.hpp"

namespace dtm::wire {

namespace {

using core::Command;
using core::TransType;

void read_gid(TransReader& reader) {
    reader.read_gid();
    if (reader.request().gid.empty()) Path(reader.path(), "gid").fail("no gid specified");
}

void read_type(TransReader& reader) {
    const Path path(reader.path(), "trans_type");
    constexpr const char* known = "trans_type is msg, saga, tcc, xa or workflow.";
    const std::string_view name = reader.type_name();
    if (name.empty()) path.fail("trans_type is missing", known);
    // dtm's spelling: tests of its clients look for it.
    if (!reader.read_type()) path.fail("unknow trans type: " + printable(name, 80), known);
}

// How its client says that a workflow has ended (dtm-compat.md 1.5.5).
void read_ending(const TransReader& reader, TransCall& call) {
    const Path path(reader.path(), "req_extra");
    const json::Value extra = reader.member("req_extra");
    if (!extra.is_null()) check_object(path, extra);
    const Path status_path(path, "status");
    const std::string_view status = read_string(status_path, extra.find("status"));
    if (status == "failed") {
        call.end = core::Status::failed;
    } else if (status != "succeed") {
        status_path.fail("a workflow cannot end with status " + quoted(status),
                         "req_extra.status is \"succeed\" or \"failed\".");
    }
    call.result = read_string(Path(path, "result"), extra.find("result"));
    call.rollback_reason =
        read_string(Path(path, "rollback_reason"), extra.find("rollback_reason"));
}

void read_body(TransReader& reader, TransCall& call) {
    if (call.command == Command::force_stop || call.command == Command::hurry) return;
    read_type(reader);
    const TransType type = reader.request().type;
    switch (call.command) {
        case Command::abort:
            call.rollback_reason = reader.text("rollback_reason");
            return;
        case Command::submit:
        case Command::finish:
            call.command = type == TransType::workflow ? Command::finish : Command::submit;
            if (call.command == Command::finish) return read_ending(reader, call);
            break;
        case Command::prepare_workflow:
            if (type != TransType::workflow) {
                Path(reader.path(), "trans_type")
                    .fail("prepareWorkflow is for workflows, not for trans type: " +
                          std::string(core::to_string(type)));
            }
            break;
        default:
            break;
    }
    reader.read_call(core::lists_steps(type));
}

}  // namespace

TransCall parse_trans(json::Value object, Command command, const TopicLookup& topics,
                      const Limits& limits) {
    TransReader reader(object, topics, limits);
    TransCall call;
    call.command = command;
    read_gid(reader);
    read_body(reader, call);
    call.request = reader.take();
    return call;
}

TransCall parse_trans(std::string_view text, Command command, const TopicLookup& topics,
                      const Limits& limits) {
    check_size(text, limits);
    const json::Document document = parse_text(Path(), text, limits.max_depth);
    return parse_trans(document.root(), command, topics, limits);
}

}  // namespace dtm::wire
