// parse_target(): the target of a request line.
#include "wire/api_request.hpp"
#include "wire/query.hpp"

namespace dtm::wire {

Target parse_target(std::string_view target) {
    // A proxy is asked for "http://host:port/path", and a server has to understand it.
    if (!target.starts_with('/')) {
        const std::size_t scheme = target.find("://");
        if (scheme != target.npos && scheme < target.find_first_of("/?#")) {
            const std::size_t path = target.find_first_of("/?#", scheme + 3);
            target.remove_prefix(path == target.npos ? target.size() : path);
        }
    }
    target = target.substr(0, target.find('#'));
    const std::size_t question = target.find('?');
    Target out;
    out.path = unescaped_path(target.substr(0, question));
    if (question == target.npos) return out;
    target.remove_prefix(question + 1);
    while (!target.empty()) {
        auto [name, value] = take_parameter(target);
        if (!name.empty()) out.parameters.try_emplace(std::move(name), std::move(value));
    }
    return out;
}

}  // namespace dtm::wire
