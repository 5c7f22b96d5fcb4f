#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/dtype.hpp"
#include "core/reduction.hpp"

/// Folding and copying in host memory.
///
/// Pointers need no alignment. A destination is disjoint from a source or exactly that source, and
/// disjoint from other destinations. The operation must support the data type (`supports`). What a
/// fold yields:
///  - the same bits for every instruction set, for every position in the buffer and for every
///    alignment;
///  - integers wrap around; `avg` divides the wrapped sum, towards zero;
///  - f16 and bf16 are folded in f32 and rounded once, to nearest, ties to even;
///  - a NaN among the operands makes a NaN, and so do inf - inf and 0 * inf. Every NaN of a result
///  is
///    *the* quiet NaN (positive, empty payload), because which payload an addition passes on
///    depends on the order in which the compiler puts its operands;
///  - of two zeros -0 is the smaller;
///  - any non-zero byte is true as a bool; results are 0 or 1.
namespace pycoll::host {

/// dst = left op right, `count` elements. `avg` adds.
void reduce(DType dtype, ReduceOp op, void* dst, const void* left, const void* right,
            std::uint64_t count);

/// The last fold of a reduction over `size` ranks: as `reduce`, and `avg` divides by `size`.
void reduce_finish(DType dtype, ReduceOp op, void* dst, const void* left, const void* right,
                   std::uint64_t count, std::size_t size);

/// Each of dsts = ((srcs[0] op srcs[1]) op srcs[2]) op ..., in one pass over memory; at least one
/// source and one destination. `finish`: it is the last fold of a reduction over `size` ranks.
void reduce_many(DType dtype, ReduceOp op, std::span<void* const> dsts,
                 std::span<const void* const> srcs, std::uint64_t count, std::size_t size,
                 bool finish);

/// Copies between buffers that do not overlap; null pointers are fine for no bytes.
void copy(void* dst, const void* src, std::size_t bytes);

/// The same past the caches, where the processor can, for what nobody reads soon: what it would
/// replace stays in the cache, and the destination's lines need not be fetched to be overwritten.
/// Ordered before whatever this thread stores later.
void copy_past_caches(void* dst, const void* src, std::size_t bytes);

/// The instruction set the folds use: the widest the CPU has ("avx512", "avx2", "baseline"), or the
/// one the environment variable PYCOLL_ISA names, read once, at the first call of this or of a
/// fold. Throws std::invalid_argument when it names none that the CPU has.
[[nodiscard]] std::string_view instruction_set();

}  // namespace pycoll::host
