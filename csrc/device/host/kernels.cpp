#include "device/host/kernels.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

namespace pycoll::host {

std::span<const Kernels* const> runnable_kernels() {
    static const std::vector<const Kernels*> runnable = [] {
        std::vector<const Kernels*> found;
#if defined(__x86_64__)
        // These ask the operating system too, which has to save the wide registers.
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
            found.push_back(&avx512::kernels);
        }
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) {
            found.push_back(&avx2::kernels);
        }
#endif
        found.push_back(&baseline::kernels);
        return found;
    }();
    return runnable;
}

const Kernels& choose_kernels(const char* wanted) {
    const std::span<const Kernels* const> runnable = runnable_kernels();
    const std::string name = wanted == nullptr ? "" : wanted;
    if (name.empty()) return *runnable.front();

    const auto found = std::ranges::find(runnable, name, &Kernels::instruction_set);
    if (found != runnable.end()) return **found;
    std::string names;
    for (const Kernels* kernels : runnable) {
        names += (names.empty() ? "" : ", ") + std::string(kernels->instruction_set);
    }
    throw std::invalid_argument("PYCOLL_ISA is '" + name + "', but this CPU runs " + names +
                                "; set it to one of these or unset it");
}

}  // namespace pycoll::host
