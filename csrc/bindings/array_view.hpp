#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/dtype.hpp"
#include "device/cuda/driver.hpp"

namespace pycoll {

/// The memory of a Python array, without a copy: NumPy (ml_dtypes' bfloat16 included), the buffer
/// protocol, DLPack, or the CUDA array interface.
struct ArrayView {
    void* data = nullptr;
    DType dtype = DType::u8;
    std::uint64_t count = 0;
    bool writable = false;
    /// Keeps the memory alive.
    pybind11::object owner = {};
    /// The ordinal of the GPU that it lies on; nothing for memory of the host.
    std::optional<int> gpu = std::nullopt;
    /// What must come before any use of it is on this stream of the GPU, if any.
    std::optional<cuda::Stream> after = std::nullopt;

    /// The ordinal of an empty array that does not say which GPU it is on.
    static constexpr int any_gpu = -1;

    [[nodiscard]] std::span<std::byte> bytes() const {
        return {static_cast<std::byte*>(data), count * size_of(dtype)};
    }
};

/// Throws pybind11::type_error or value_error, naming `argument`, unless the object is an array
/// of a supported type in C-contiguous memory of the host or of a GPU, and cuda::CudaError for one
/// on a GPU where there is no CUDA.
///
/// Of an array on a GPU, `stream` is what its use comes after; nothing leaves it to the library of
/// the array to tell.
[[nodiscard]] ArrayView view_array(pybind11::handle object, const char* argument,
                                   std::optional<cuda::Stream> stream = std::nullopt);

/// The same of arrays on the host only.
[[nodiscard]] ArrayView view_host_array(pybind11::handle object, const char* argument);

}  // namespace pycoll
