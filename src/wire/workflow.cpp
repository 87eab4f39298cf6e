// See workflow.hpp.
#include "wire/workflow.hpp"

#include "wire/fields.hpp"
#include "wire/text.hpp"

namespace dtm::wire {

namespace {

constexpr int max_depth = 32;
// The name travels in the URL of the callback.
constexpr std::size_t max_name_bytes = 1024;

}  // namespace

void read_workflow(const Path& path, core::Request& request) {
    constexpr const char* form =
        "custom_data of a workflow is {\"name\":\"the workflow's name\",\"data\":\"its input in "
        "base64\"}, as a string.";
    if (request.custom_data.empty()) path.fail("custom_data is missing", form);
    const json::Document document = parse_text(path, request.custom_data, max_depth);
    const json::Value root = document.root();
    if (root.kind() != json::Kind::object) {
        wrong_kind(path, "the JSON text of an object", root, form);
    }
    const Path name_path(path, "name");
    const std::string_view name = read_string(name_path, root.find("name"));
    if (name.empty()) name_path.fail("the workflow has no name", form);
    if (name.size() > max_name_bytes) {
        name_path.fail("the workflow's name is " + std::to_string(name.size()) +
                       " bytes long, the limit is " + std::to_string(max_name_bytes));
    }
    const Path data_path(path, "data");
    auto data = unbase64(read_string(data_path, root.find("data")));
    if (!data) data_path.fail("the workflow's data is not base64", form);
    request.workflow_name = name;
    request.workflow_data = std::move(*data);
}

}  // namespace dtm::wire
