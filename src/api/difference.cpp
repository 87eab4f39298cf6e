// See difference.hpp. The first difference is enough: who sees it knows which of the two he meant.
#include "api/difference.hpp"

#include "api/result.hpp"
#include "store/merge.hpp"
#include "wire/stored.hpp"

namespace dtm::api {

namespace {

std::string differing_step(const core::Request& was, const core::Request& now) {
    for (std::size_t i = 0; i < now.branches.size(); ++i) {
        const core::Branch& a = was.branches[i];
        const core::Branch& b = now.branches[i];
        const std::string step = "steps[" + std::to_string(b.step) + "]";
        if (a.action != b.action) {
            return step + ".action was " + in_quotes(a.action) + ", now it is " +
                   in_quotes(b.action) + ".";
        }
        if (a.compensate != b.compensate) {
            return step + ".compensate was " + in_quotes(a.compensate) + ", now it is " +
                   in_quotes(b.compensate) + ".";
        }
        if (a.after != b.after) return step + " waits for other steps than before.";
    }
    for (std::size_t i = 0; i < now.payloads.size(); ++i) {
        if (was.payloads[i] != now.payloads[i]) {
            return "The payload of steps[" + std::to_string(i) + "] differs.";
        }
    }
    return "The steps are the same; the options differ.";
}

}  // namespace

std::string difference(const store::Row& stored, const core::Request& now) {
    if (stored.type != now.type) {
        return "The stored transaction is a " + std::string(core::to_string(stored.type)) +
               ", this request is for a " + std::string(core::to_string(now.type)) + ".";
    }
    try {
        const core::Request was = wire::decode_request(now.gid, now.type, stored.request);
        if (!store::has_steps(now)) return "The options differ.";
        if (was.branches.size() != now.branches.size() ||
            was.payloads.size() != now.payloads.size()) {
            return "The stored transaction calls " +
                   counted(was.branches.size(), "branch", "branches") + ", this request " +
                   std::to_string(now.branches.size()) + ".";
        }
        return differing_step(was, now);
    } catch (const pg::PgError&) {
        throw;
    } catch (const std::exception&) {
        return "The stored request was written by another version of dtm_pg.";
    }
}

}  // namespace dtm::api
