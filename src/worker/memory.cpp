// See memory.hpp.
#include "worker/memory.hpp"

namespace dtm::worker {
namespace {

// The heap's own part of a block.
constexpr std::size_t block = 16;

std::size_t heap(std::size_t bytes) { return bytes == 0 ? 0 : bytes + block; }

// Short strings need no block.
std::size_t heap(const std::string& text) { return text.size() < 16 ? 0 : heap(text.size() + 1); }

const core::OpState& op_of(const core::State& state, std::uint32_t branch, core::Op op) {
    if (op == core::Op::query) return state.query;
    const core::BranchState& b = state.branches.at(branch);
    return op == core::Op::action ? b.action : b.compensate;
}

}  // namespace

std::size_t memory_of(const core::Request& request) {
    std::size_t bytes = sizeof request + heap(request.gid) + heap(request.query_prepared) +
                        heap(request.custom_data) + heap(request.workflow_name) +
                        heap(request.workflow_data);
    for (const core::Branch& b : request.branches) {
        bytes += sizeof b + heap(b.branch_id) + heap(b.action) + heap(b.compensate) +
                 heap(b.after.size() * sizeof b.after[0]);
    }
    for (const std::string& payload : request.payloads) {
        bytes += sizeof(std::string) + heap(payload);
    }
    for (const auto& header : request.options.branch_headers) {
        bytes += sizeof header + 2 * block + heap(header.first) + heap(header.second);
    }
    return bytes;
}

std::size_t memory_of(const std::string& text) { return heap(text); }

std::size_t memory_of(const core::OpState& op) {
    return heap(op.last_answer) + (op.kept_back ? heap(op.kept_back->reason) : 0);
}

std::size_t memory_of(const core::State& state) {
    std::size_t bytes = sizeof state + heap(state.rollback_reason) + memory_of(state.query);
    for (const core::BranchState& b : state.branches) {
        bytes += sizeof b + memory_of(b.action) + memory_of(b.compensate);
    }
    return bytes;
}

std::size_t memory_of_words(const core::State& state, const core::Outcome& last,
                            const core::Answer* answer) {
    const std::size_t bytes = memory_of(state.rollback_reason) + memory_of(last.reason);
    return answer != nullptr ? bytes + memory_of(op_of(state, answer->branch, answer->op)) : bytes;
}

}  // namespace dtm::worker
