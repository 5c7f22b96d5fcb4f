#pragma once

#include "schedule/cost_model.hpp"

namespace pycoll {

/// The costs of calls on GPUs, from those of calls on the host. `takes_gpu_memory`: messages lie in
/// the GPUs' memory; else they go through the host's.
[[nodiscard]] inline CostModel gpu_model(CostModel model, bool takes_gpu_memory) {
    // Not measured: no GPU was at hand. Between what vendors state for PCI Express 4 x16 (26 GB/s
    // for copies from and to pinned memory) and for memory of 1.5 TB/s (a fold reads two operands
    // and writes one, a copy reads and writes); launching and seeing the end of something takes
    // some microseconds on every GPU.
    constexpr double launch = 5e-6;
    constexpr double memory = 1 / 1.5e12;
    constexpr Link bus{.alpha = 8e-6, .beta = 1 / 26e9};
    if (!takes_gpu_memory) model.staging = bus;
    model.launch = launch;
    model.gamma = 3 * memory;
    model.copy = 2 * memory;
    // The host sees the end of what was launched before it gives a signal.
    model.signal += launch;
    model.intra_node.beta += 2 * model.fetch;
    model.fetch = 0;
    // Cores do not fold.
    model.cores_per_node = 0;
    model.wake = 0;
    return model;
}

}  // namespace pycoll
