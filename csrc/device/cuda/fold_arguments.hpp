#pragma once

#include <cstdint>

namespace pycoll::cuda {

/// The most sources of one fold: a launch carries them all by value, within the 4 KiB that every
/// GPU takes.
inline constexpr unsigned most_sources = 128;

/// What a fold kernel is launched with: dst = srcs[0] op srcs[1] op ..., `count` elements each.
struct FoldArguments {
    void* dst;
    std::uint64_t count;
    /// The result of an `avg` is divided by it, unless it is 1. A number of ranks: at most 2^31
    /// - 1.
    std::uint32_t divisor;
    std::uint32_t sources;
    const void* srcs[most_sources];
};

}  // namespace pycoll::cuda
