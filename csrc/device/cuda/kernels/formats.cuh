#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

/// How an element in memory becomes the lane that operations work on, and back: the conversions of
/// csrc/device/host, one element at a time and to the same bits. By hand also where GPUs have an
/// instruction, so that the tests, which run this source on the CPU, prove what a GPU runs. A fold
/// waits for memory, not for these: f16 takes some 5 instructions a byte, where an H100 could issue
/// 8 in the time that its memory takes for one byte.
namespace pycoll::cuda {

template <typename To, typename From>
__device__ inline To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// The value, or the one NaN of results (positive, quiet, empty payload).
template <typename T>
__device__ inline T with_one_nan(T value) {
    constexpr BitsOf<T> nan =
        static_cast<BitsOf<T>>(sizeof(T) == 4 ? 0x7fc00000U : 0x7ff8ULL << 48);
    return value == value ? value : bits_as<T>(nan);
}

// `Element` is what lies in memory, `Lane` what is folded. A fold decodes each operand, folds, and
// encodes once.

template <typename T>
struct Plain {
    using Element = T;
    using Lane = T;

    __device__ static Lane decode(Element element) { return element; }

    __device__ static Element encode(Lane lane) {
        if constexpr (std::is_floating_point_v<T>) {
            return with_one_nan(lane);
        } else {
            return lane;
        }
    }
};

struct Bool {
    using Element = std::uint8_t;
    using Lane = std::uint8_t;

    __device__ static Lane decode(Element element) { return element != 0 ? 1 : 0; }
    __device__ static Element encode(Lane lane) { return lane; }
};

struct BFloat16 {
    using Element = std::uint16_t;
    using Lane = float;

    __device__ static Lane decode(Element element) {
        return bits_as<float>(static_cast<std::uint32_t>(element) << 16);
    }

    /// The upper half, to the nearest, ties to even. The one NaN has an empty lower half and stays.
    __device__ static Element encode(Lane lane) {
        const auto bits = bits_as<std::uint32_t>(with_one_nan(lane));
        return static_cast<Element>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
    }
};

/// 5 bits of exponent (bias 15) and 10 of mantissa, where f32 has 8 (bias 127) and 23.
struct Float16 {
    using Element = std::uint16_t;
    using Lane = float;

    __device__ static Lane decode(Element element) {
        const std::uint32_t sign = (element & 0x8000U) << 16;
        const std::uint32_t magnitude = (element & 0x7fffU) << 13;
        // As the bits of an f32 these are 2^112 times too small, denormal values included; the
        // product is exact. The exponent of infinity and NaN has to become that of f32.
        const float scaled = bits_as<float>(magnitude) * bits_as<float>((127U + 112U) << 23);
        const std::uint32_t all_ones = magnitude >= (31U << 23) ? 255U << 23 : 0U;
        return bits_as<float>(bits_as<std::uint32_t>(scaled) | all_ones | sign);
    }

    __device__ static Element encode(Lane lane) {
        if (lane != lane) return 0x7e00U;
        const std::uint32_t sign = (bits_as<std::uint32_t>(lane) >> 16) & 0x8000U;
        std::uint32_t bits = bits_as<std::uint32_t>(lane) & 0x7fffffffU;
        // 65536 has the exponent of infinity.
        if (bits > (127U + 16U) << 23) bits = (127U + 16U) << 23;
        std::uint32_t narrow = 0;
        if (bits < (127U - 14U) << 23) {
            // Below 2^-14: added to 0.5, whose last place weighs 2^-24 as that of the denormals of
            // f16 does, the value is rounded by the addition.
            narrow = bits_as<std::uint32_t>(bits_as<float>(bits) + 0.5F) - (126U << 23);
        } else {
            // Half a unit in the last place less a bit, and that bit where the last place is odd:
            // ties go to even. A carry runs into the exponent, up to infinity, as it should.
            narrow = (bits - (112U << 23) + 0xfffU + ((bits >> 13) & 1U)) >> 13;
        }
        return static_cast<Element>(narrow | sign);
    }
};

}  // namespace pycoll::cuda
