#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "device/cuda/driver.hpp"

namespace pycoll::cuda {

/// The compiled kernels of this build, as the driver loads them; empty when it was made without a
/// CUDA toolkit. Defined in a source that the build generates.
[[nodiscard]] std::span<const std::byte> kernel_image();
/// The architectures they were compiled for, such as "sm_90", the last one as "compute_120" for
/// newer ones; empty without them.
[[nodiscard]] std::span<const std::string_view> architectures();

/// The kernels of one context, which has to be current for all that is done with them.
class Kernels {
public:
    /// Loads them into the current context, which is that of GPU `ordinal`. Throws CudaError when
    /// the build has none, or none for this GPU.
    Kernels(const Driver& driver, int ordinal);
    ~Kernels();

    Kernels(const Kernels&) = delete;
    Kernels& operator=(const Kernels&) = delete;

    /// Starts dst = srcs[0] op srcs[1] op ..., with what host::reduce_many() promises, down to the
    /// bits. Pointers are the device's, and aligned to their elements: GPUs cannot read others.
    /// Fastest where all have the same remainder modulo 16. At most `most_sources` sources, and
    /// 2^31 - 1 ranks. Throws CudaError.
    void fold(Stream stream, DType dtype, ReduceOp op, void* dst, std::span<const void* const> srcs,
              std::uint64_t count, std::size_t size, bool finish) const;

private:
    const Driver& driver_;
    unsigned most_blocks_ = 0;
    Module module_ = nullptr;
    /// Null where the op does not support the dtype.
    std::array<std::array<Function, dtype_names.size()>, reduce_op_names.size()> folds_{};
};

}  // namespace pycoll::cuda
