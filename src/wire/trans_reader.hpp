// Reads the transaction object (dtm-compat.md 1.4) part by part: each command takes the parts that
// it needs, and looks at no other. The parts are called in this order; each throws BadRequest.
#pragma once

#include "core/types.hpp"
#include "wire/json.hpp"
#include "wire/path.hpp"
#include "wire/request.hpp"

#include <string>
#include <string_view>

namespace dtm::wire {

class TransReader {
public:
    // The object, topics and limits must outlive the reader. Throws when it is no object.
    TransReader(json::Value object, const TopicLookup& topics, const Limits& limits);

    // "" stays "": whether a gid is needed is the caller's business.
    void read_gid();
    // The name of the type, "" when it is missing. read_type(): false when it names none.
    std::string_view type_name() const;
    bool read_type();
    // protocol, steps, options, query_prepared, custom_data. with_steps: whether it must have
    // steps.
    void read_call(bool with_steps);

    // A string member, "" when absent.
    std::string_view text(std::string_view name) const;
    json::Value member(std::string_view name) const { return object_.find(name); }
    const Path& path() const { return top_; }
    const core::Request& request() const { return request_; }
    core::Request take() { return std::move(request_); }

private:
    void read_protocol();
    void read_options();
    void read_headers();
    void read_custom_data();
    void read_custom_object(const Path& path, std::string_view text);

    json::Value object_;
    const TopicLookup& topics_;
    const Limits& limits_;
    Path top_;
    core::Request request_;
};

}  // namespace dtm::wire
