#pragma once

#include "device/cuda/driver.hpp"

/// The results of the real driver that the fake one gives, by their numbers in cuda.h.
namespace fake_cuda {

using pycoll::cuda::Address;
using pycoll::cuda::not_found;
using pycoll::cuda::not_ready;
using pycoll::cuda::out_of_memory;
using pycoll::cuda::Result;
using pycoll::cuda::success;

inline constexpr Result invalid_value = 1;
inline constexpr Result not_initialized = 3;
inline constexpr Result no_device = 100;
inline constexpr Result invalid_device = 101;
inline constexpr Result invalid_context = 201;
inline constexpr Result peer_access_unsupported = 217;
inline constexpr Result operating_system = 304;
inline constexpr Result invalid_handle = 400;
inline constexpr Result illegal_address = 700;
inline constexpr Result misaligned_address = 716;
inline constexpr Result launch_failed = 719;
inline constexpr Result capture_unsupported = 900;

/// After some errors a context is of no use any more: every later call returns the same.
[[nodiscard]] constexpr bool is_sticky(Result result) {
    return result == illegal_address || result == misaligned_address || result == launch_failed;
}

}  // namespace fake_cuda
