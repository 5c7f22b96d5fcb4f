#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

#include "core/dtype.hpp"
#include "core/reduction.hpp"

/// The folds as compiled once per instruction set.
///
/// Each of baseline.cpp, avx2.cpp and avx512.cpp switches the compiler to its instructions and then
/// includes the same sources, lanes.inl and fold.inl, into a namespace of its own. Two rules keep
/// instructions of a wide set away from CPUs without it:
///  - all headers come before the switch, and nothing between switch and switch back calls an
///  inline
///    function of the standard library or of this one, or instantiates a template of theirs other
///    than a type or a constant. The linker keeps one copy of such a function for the whole
///    program, whichever object it came from; were it the one made with AVX-512, everybody would
///    run it.
///  - all templates and inline functions of these sources live in the variant's namespace.
/// So no object but for the variant's own symbols defines a weak one: `nm -C avx512.o | grep '
/// [WVu] '`.
namespace pycoll::host {

/// What one fold works on.
struct Operands {
    void* const* dsts;  ///< all get the result; each may be a source
    std::size_t destinations;
    const void* const* srcs;
    std::size_t sources;  ///< at least 1
    double divisor;       ///< other than 1 for sums of floating types only
};

/// Folds `bytes` bytes of each source.
using Fold = void (*)(Operands operands, std::size_t bytes);

struct Kernels {
    const char* instruction_set;
    Fold folds[reduce_op_names.size()][dtype_names.size()];  ///< null: the op does not support it
};

namespace baseline {
extern const Kernels kernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

/// What this CPU can run, the best first; never empty.
[[nodiscard]] std::span<const Kernels* const> runnable_kernels();

/// The kernels of the instruction set `wanted`, or the best if that is null or empty. Throws
/// std::invalid_argument, listing what there is, if the CPU cannot run them.
[[nodiscard]] const Kernels& choose_kernels(const char* wanted);

/// `reduce_many` of reduce.hpp, with these kernels.
void reduce_many(const Kernels& kernels, DType dtype, ReduceOp op, std::span<void* const> dsts,
                 std::span<const void* const> srcs, std::uint64_t count, std::size_t size,
                 bool finish);

}  // namespace pycoll::host
