#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>

#include "device/cuda/driver.hpp"

namespace pycoll {

/// The default streams, by the numbers that CUDA, DLPack and the CUDA array interface give them.
inline constexpr std::intptr_t legacy_default_stream = 1;
inline constexpr std::intptr_t per_thread_default_stream = 2;

[[nodiscard]] inline cuda::Stream stream_numbered(std::intptr_t number) {
    return reinterpret_cast<cuda::Stream>(number);
}

/// The stream that the caller passed as 'stream': a number, or a stream of any library. Nothing for
/// None. Throws pybind11::type_error or value_error.
[[nodiscard]] std::optional<cuda::Stream> stream_argument(pybind11::handle value);

/// Throws cuda::CudaError when what is done on the stream, of a GPU, is being recorded into a
/// graph. `who` names it.
void require_not_captured(int gpu, cuda::Stream stream, const std::string& who);

}  // namespace pycoll
