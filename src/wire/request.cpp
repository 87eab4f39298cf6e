// parse_submit(): the transaction object as SQL's submit takes it.
#include "wire/request.hpp"

#include "wire/fields.hpp"
#include "wire/rules.hpp"
#include "wire/trans_reader.hpp"

namespace dtm::wire {

namespace {

using core::TransType;

void read_type(TransReader& reader) {
    const Path path(reader.path(), "trans_type");
    constexpr const char* known =
        "trans_type is \"saga\" or \"msg\"; a \"tcc\" or \"xa\" is submitted after it was "
        "prepared.";
    const std::string_view name = reader.type_name();
    if (name.empty()) path.fail("trans_type is missing", known);
    if (!reader.read_type()) path.fail("unknown trans_type " + quoted(name), known);
    if (reader.request().type == TransType::workflow) {
        path.fail("a workflow cannot be submitted from SQL",
                  "Its client starts it, and says how it ended, through the HTTP API.");
    }
}

// Of a transaction whose client registers the branches one by one before it submits.
void check_prepared(const TransReader& reader) {
    const std::string type(reader.type_name());
    if (reader.member("steps").size() > 0) {
        Path(reader.path(), "steps")
            .fail("a " + type + " has no steps",
                  "Its branches are registered one by one, between prepare and submit.");
    }
    if (reader.request().gid.empty()) {
        Path(reader.path(), "gid")
            .fail("the gid is missing",
                  "A " + type + " is submitted by the gid with which it was prepared.");
    }
}

}  // namespace

core::Request parse_submit(std::string_view text, const TopicLookup& topics, const Limits& limits) {
    check_size(text, limits);
    const json::Document document = parse_text(Path(), text, limits.max_depth);
    TransReader reader(document.root(), topics, limits);
    reader.read_gid();
    read_type(reader);
    const bool can_list = core::lists_steps(reader.request().type);
    if (!can_list) check_prepared(reader);
    const bool was_prepared = !reader.request().gid.empty() && reader.member("steps").is_null();
    reader.read_call(can_list && !was_prepared);
    return reader.take();
}

}  // namespace dtm::wire
