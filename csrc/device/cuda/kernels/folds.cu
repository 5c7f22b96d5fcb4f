// One kernel per operation and data type that supports it: fold_sum_float32 and so on.

#include "device/cuda/kernels/folds.cuh"

#include "device/cuda/kernels/fold.cuh"

namespace pycoll::cuda {

#define PYCOLL_FOLD_KERNEL(op, dtype, format, operation)                                         \
    extern "C" __global__ void fold_##op##_##dtype(                                              \
        const __grid_constant__ FoldArguments arguments) {                                       \
        fold<format, operation>(arguments, std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x, \
                                std::uint64_t{gridDim.x} * blockDim.x);                          \
    }

PYCOLL_FOLDS(PYCOLL_FOLD_KERNEL)

#undef PYCOLL_FOLD_KERNEL

}  // namespace pycoll::cuda
