#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/dtype.hpp"

namespace pycoll {

/// How contributions fold into one. `avg` is a sum that is divided by the number of ranks once, in
/// the last fold.
enum class ReduceOp : std::uint8_t { sum, prod, min, max, avg, band, bor, bxor };

inline constexpr std::array<std::string_view, 8> reduce_op_names = {"sum", "prod", "min", "max",
                                                                    "avg", "band", "bor", "bxor"};

[[nodiscard]] constexpr std::string_view name(ReduceOp op) {
    return reduce_op_names[static_cast<std::size_t>(op)];
}

[[nodiscard]] constexpr std::optional<ReduceOp> parse_reduce_op(std::string_view text) {
    for (std::size_t i = 0; i < reduce_op_names.size(); ++i) {
        if (reduce_op_names[i] == text) return static_cast<ReduceOp>(i);
    }
    return std::nullopt;
}

[[nodiscard]] constexpr bool is_bitwise(ReduceOp op) { return op >= ReduceOp::band; }

/// Integers take every operation, floating types the arithmetic ones, bool the logical ones and
/// min and max, which mean `and` and `or`.
[[nodiscard]] constexpr bool supports(ReduceOp op, DType dtype) {
    if (dtype == DType::boolean) {
        return is_bitwise(op) || op == ReduceOp::min || op == ReduceOp::max;
    }
    return !is_floating(dtype) || !is_bitwise(op);
}

}  // namespace pycoll
