#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <optional>
#include <string>

#include "bindings/array_view.hpp"
#include "core/dtype.hpp"
#include "device/cuda/gpu.hpp"

namespace pycoll {

/// The ways in which libraries show their arrays to others, one function each. They throw as
/// view_array() does.

[[noreturn]] void fail_type(const char* argument, const std::string& what);
[[noreturn]] void fail_value(const char* argument, const std::string& what);
[[noreturn]] void fail_contiguous(const char* argument);
[[noreturn]] void fail_dtype(const char* argument, const std::string& dtype);

/// From a NumPy kind ('b', 'i', 'u', 'f') and a width.
[[nodiscard]] std::optional<DType> dtype_of(char kind, std::size_t size);

[[nodiscard]] bool has_dlpack(pybind11::handle object);
/// The ordinal of the GPU, or nothing, for memory of the host.
[[nodiscard]] std::optional<int> dlpack_gpu(pybind11::handle object, const char* argument);
[[nodiscard]] ArrayView view_dlpack(pybind11::handle object, const char* argument,
                                    std::optional<cuda::Stream> stream);

/// Nothing when the object is no tensor of PyTorch on a GPU. What PyTorch itself says of a tensor
/// is taken, as its DLPack puts an event on a stream, which ends a capture there, and refuses
/// tensors of any GPU but the current one, and its CUDA array interface knows no streams.
[[nodiscard]] std::optional<ArrayView> view_torch_tensor(pybind11::handle object,
                                                         const char* argument,
                                                         std::optional<cuda::Stream> stream);

/// Nothing when the object has no such interface, or does not give it away: then DLPack may say
/// why.
[[nodiscard]] std::optional<ArrayView> view_cuda_array_interface(
    pybind11::handle object, const char* argument, std::optional<cuda::Stream> stream);

/// The GPU that an argument lies on. Throws cuda::CudaError where there is no using it.
[[nodiscard]] cuda::Gpu& require_gpu(int ordinal, const char* argument);

}  // namespace pycoll
