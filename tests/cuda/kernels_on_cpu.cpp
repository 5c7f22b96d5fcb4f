// The kernels as g++ compiles them: the words that CUDA adds to C++, and a launch that runs the
// threads of a grid one after the other. They share nothing and never wait for each other, so that
// any order is one that a GPU might choose.

#include "cuda/kernels_on_cpu.hpp"

#include <cstring>
#include <string_view>

namespace {

struct Extent {
    unsigned x = 0;
};
thread_local Extent gridDim;
thread_local Extent blockDim;
thread_local Extent blockIdx;
thread_local Extent threadIdx;

}  // namespace

#define __global__
#define __device__
#define __grid_constant__
#include "device/cuda/kernels/folds.cu"

namespace {

using Kernel = void (*)(pycoll::cuda::FoldArguments);

struct Named {
    std::string_view name;
    Kernel kernel;
};

#define PYCOLL_NAMED_KERNEL(op, dtype, format, operation) \
    {"fold_" #op "_" #dtype, pycoll::cuda::fold_##op##_##dtype},
constexpr Named kernels[] = {PYCOLL_FOLDS(PYCOLL_NAMED_KERNEL)};
#undef PYCOLL_NAMED_KERNEL

}  // namespace

bool run_kernel_on_cpu(const char* name, unsigned grid_x, unsigned block_x,
                       const pycoll::cuda::FoldArguments& arguments) {
    for (const Named& one : kernels) {
        if (one.name != name) continue;
        gridDim.x = grid_x;
        blockDim.x = block_x;
        for (blockIdx.x = 0; blockIdx.x < grid_x; ++blockIdx.x) {
            for (threadIdx.x = 0; threadIdx.x < block_x; ++threadIdx.x) one.kernel(arguments);
        }
        return true;
    }
    return false;
}
