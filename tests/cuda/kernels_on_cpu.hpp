#pragma once

#include "device/cuda/fold_arguments.hpp"

/// Runs the kernel of this name (such as "fold_sum_float32") with this launch shape on the CPU,
/// before it returns. Pointers are those of host memory. False for an unknown name.
extern "C" bool run_kernel_on_cpu(const char* name, unsigned grid_x, unsigned block_x,
                                  const pycoll::cuda::FoldArguments& arguments);
