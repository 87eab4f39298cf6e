// See barrier.hpp.
#include "core/barrier.hpp"

#include <array>

namespace dtm::core {
namespace {

using namespace std::string_view_literals;

constexpr std::array op_names{"try"sv,        "confirm"sv, "cancel"sv,   "action"sv,
                              "compensate"sv, "commit"sv,  "rollback"sv, "msg"sv};
constexpr std::array verdict_names{"run"sv, "duplicate"sv, "hanging"sv, "empty"sv};

constexpr unsigned bit(BarrierOp op) { return 1U << static_cast<unsigned>(op); }

constexpr unsigned tcc_ops =
    bit(BarrierOp::tcc_try) | bit(BarrierOp::confirm) | bit(BarrierOp::cancel);
constexpr unsigned saga_ops = bit(BarrierOp::action) | bit(BarrierOp::compensate);
constexpr unsigned xa_ops =
    bit(BarrierOp::action) | bit(BarrierOp::commit) | bit(BarrierOp::rollback);

constexpr unsigned ops_mask(TransType type) {
    switch (type) {
        case TransType::saga:
            return saga_ops;
        case TransType::msg:
            return bit(BarrierOp::action) | bit(BarrierOp::msg);
        case TransType::tcc:
            return tcc_ops;
        case TransType::xa:
            return xa_ops;
        case TransType::workflow:  // its branches may be of every kind
            return saga_ops | tcc_ops | xa_ops;
    }
    return 0;
}

}  // namespace

std::string_view to_string(BarrierOp op) { return op_names[static_cast<std::size_t>(op)]; }

std::string_view to_string(Verdict v) { return verdict_names[static_cast<std::size_t>(v)]; }

std::optional<BarrierOp> parse_barrier_op(std::string_view text) {
    for (std::size_t i = 0; i < op_names.size(); ++i) {
        if (op_names[i] == text) return static_cast<BarrierOp>(i);
    }
    return std::nullopt;
}

bool has_op(TransType type, BarrierOp op) { return (ops_mask(type) & bit(op)) != 0; }

std::string ops_of(TransType type) {
    std::string text;
    std::string_view last;
    for (std::size_t i = 0; i < op_names.size(); ++i) {
        if (!has_op(type, static_cast<BarrierOp>(i))) continue;
        if (!last.empty()) {
            if (!text.empty()) text += ", ";
            text += last;
        }
        last = op_names[i];
    }
    return text.append(" and ").append(last);
}

std::optional<BarrierOp> origin_of(BarrierOp op) {
    switch (op) {
        case BarrierOp::cancel:
            return BarrierOp::tcc_try;
        case BarrierOp::compensate:
        case BarrierOp::rollback:
            return BarrierOp::action;
        default:
            return std::nullopt;
    }
}

Verdict judge(BarrierOp op, const BarrierRows& rows) {
    // The undone op can never come any more: our row holds its place.
    if (origin_of(op) && rows.origin_inserted) return Verdict::empty;
    if (rows.own_inserted) return Verdict::run;
    return rows.own_reason == to_string(op) ? Verdict::duplicate : Verdict::hanging;
}

std::string barrier_id(std::uint32_t n) {
    std::string digits = std::to_string(n);
    return n < 10 ? "0" + digits : digits;
}

}  // namespace dtm::core
