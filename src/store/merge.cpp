// See merge.hpp. An option that a client leaves out looks like its default, so a submit can set an
// option but not unset it: most clients send prepare and submit alike, and a short submit from SQL
// must not lose the headers or the times that were prepared.
#include "store/merge.hpp"

#include <algorithm>

namespace dtm::store {

namespace {

bool same_branch(const core::Branch& a, const core::Branch& b) {
    return a.branch_id == b.branch_id && a.action == b.action && a.compensate == b.compensate &&
           a.step == b.step && a.after == b.after;
}

template <class T>
void take(T& stored, const T& given) {
    if (given != T{}) stored = given;
}

}  // namespace

bool has_steps(const core::Request& request) {
    return !request.branches.empty() || !request.payloads.empty();
}

bool same_steps(const core::Request& a, const core::Request& b) {
    return a.payloads == b.payloads && std::ranges::equal(a.branches, b.branches, same_branch);
}

core::Request merged(const core::Request& stored, const core::Request& submitted) {
    core::Request all = stored;
    core::Options& to = all.options;
    const core::Options& from = submitted.options;
    // Which steps of a saga may run at the same time is a part of its steps.
    if (stored.type != core::TransType::saga || same_steps(stored, submitted)) {
        take(to.concurrent, from.concurrent);
    }
    take(to.wait_result, from.wait_result);
    take(to.exact_progress, from.exact_progress);
    take(to.timeout_to_fail, from.timeout_to_fail);
    take(to.request_timeout, from.request_timeout);
    take(to.retry_interval, from.retry_interval);
    take(to.delay, from.delay);
    take(to.retry_limit, from.retry_limit);
    take(to.branch_headers, from.branch_headers);
    take(all.custom_data, submitted.custom_data);
    return all;
}

}  // namespace dtm::store
