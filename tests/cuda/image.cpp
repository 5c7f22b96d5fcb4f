#include "cuda/image.hpp"

#include "device/cuda/kernels.hpp"

namespace pycoll {

bool test::build_has_kernels = true;

namespace cuda {

std::span<const std::byte> kernel_image() {
    static constexpr std::byte image[16] = {};
    return test::build_has_kernels ? image : std::span<const std::byte>();
}

std::span<const std::string_view> architectures() {
    static constexpr std::string_view names[] = {"sm_90", "compute_90"};
    return test::build_has_kernels ? names : std::span<const std::string_view>();
}

}  // namespace cuda
}  // namespace pycoll
