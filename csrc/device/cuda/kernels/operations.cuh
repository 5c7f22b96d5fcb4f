#pragma once

#include <cstdint>
#include <type_traits>

#include "device/cuda/kernels/formats.cuh"

/// The operations on two lanes; what they mean is said in device/host/reduce.hpp.
///
/// None feeds a product into a sum, so there is nothing that could be contracted to a fused
/// multiply-add.
namespace pycoll::cuda {

struct Sum {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        if constexpr (std::is_integral_v<T>) {
            // Without a sign, for sums wrap around.
            using Unsigned = std::make_unsigned_t<T>;
            return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
        } else {
            return a + b;
        }
    }
};

/// A sum that may be divided at the end.
struct Avg : Sum {
    static constexpr bool divides = true;
};

struct Prod {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        // 16-bit integers would be multiplied as `int`, which a product of two can overflow.
        if constexpr (sizeof(T) < 4) {
            return static_cast<T>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
        } else {
            return a * b;
        }
    }
};

struct Min {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        if constexpr (std::is_floating_point_v<T>) {
            // The two choices differ only for -0 and +0, where `or` makes -0, and for a NaN and a
            // number, where `or` makes a NaN.
            const T one = a < b ? a : b;
            const T other = b < a ? b : a;
            return bits_as<T>(bits_as<BitsOf<T>>(one) | bits_as<BitsOf<T>>(other));
        } else {
            return a < b ? a : b;
        }
    }
};

struct Max {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        if constexpr (std::is_floating_point_v<T>) {
            return -Min::fold(-a, -b);
        } else {
            return a > b ? a : b;
        }
    }
};

struct And {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        return static_cast<T>(a & b);
    }
};

struct Or {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        return static_cast<T>(a | b);
    }
};

struct Xor {
    static constexpr bool divides = false;
    template <typename T>
    __device__ static T fold(T a, T b) {
        return static_cast<T>(a ^ b);
    }
};

/// value / divisor; integers towards zero, whatever the divisor's relation to the range of T.
template <typename T>
__device__ inline T divided(T value, std::uint32_t divisor) {
    if constexpr (std::is_floating_point_v<T>) {
        return value / static_cast<T>(divisor);
    } else {
        // 32 bits where they do: a GPU divides 64 bits by a subroutine of some hundred
        // instructions.
        using Narrow = std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>;
        using Wide = std::conditional_t<(sizeof(T) > 4), T, Narrow>;
        return static_cast<T>(static_cast<Wide>(value) / static_cast<Wide>(divisor));
    }
}

}  // namespace pycoll::cuda
