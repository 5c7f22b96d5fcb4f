#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include "core/dtype.hpp"
#include "core/reduction.hpp"

/// What a fold must yield, element by element in plain arithmetic: nothing here is shared with the
/// kernels or done in their way. A value of any type travels as its bits.
namespace pycoll::test::scalar {

using Bits = std::uint64_t;

/// A floating type of 16 bits: sign, exponent, `mantissa` bits.
struct Format16 {
    int mantissa;
    int bias;
    int all_ones;  ///< the exponent of inf and NaN
};
inline constexpr Format16 half{10, 15, 31};
inline constexpr Format16 bfloat{7, 127, 255};

inline float decode(Format16 format, Bits bits) {
    const auto fraction = static_cast<int>(bits) & ((1 << format.mantissa) - 1);
    const auto exponent = static_cast<int>(bits >> format.mantissa) & format.all_ones;
    const float sign = (bits & 0x8000U) != 0 ? -1.0F : 1.0F;
    if (exponent == format.all_ones) {
        return fraction != 0 ? std::numeric_limits<float>::quiet_NaN()
                             : sign * std::numeric_limits<float>::infinity();
    }
    const int significand = exponent == 0 ? fraction : fraction + (1 << format.mantissa);
    const int power = std::max(exponent, 1) - format.bias - format.mantissa;
    return sign * std::ldexp(static_cast<float>(significand), power);
}

/// To the nearest, ties to even: the nearest multiple of the last place's weight.
inline Bits encode(Format16 format, float value) {
    const int infinity = format.all_ones << format.mantissa;
    if (std::isnan(value)) return static_cast<Bits>(infinity | 1 << (format.mantissa - 1));
    const Bits sign = std::signbit(value) ? 0x8000U : 0;
    if (std::isinf(value)) return sign | static_cast<Bits>(infinity);
    if (value == 0) return sign;

    // In double, where no quotient leaves the range.
    const double magnitude = std::fabs(static_cast<double>(value));
    const int smallest_place = 1 - format.bias - format.mantissa;
    const int last_place = std::max(std::ilogb(magnitude) - format.mantissa, smallest_place);
    const auto places = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -last_place)));
    // The encoding counts up without a gap from zero to infinity, 2^mantissa to a binade.
    const int binades = last_place - smallest_place;
    return sign | static_cast<Bits>(std::min(places + (binades << format.mantissa), infinity));
}

template <typename T>
T fold_floats(ReduceOp op, T a, T b) {
    if (op == ReduceOp::sum || op == ReduceOp::avg) return a + b;
    if (op == ReduceOp::prod) return a * b;
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
    const bool a_is_less = a < b || (a == b && std::signbit(a));
    return a_is_less == (op == ReduceOp::min) ? a : b;
}

template <typename T>
T fold_integers(ReduceOp op, T a, T b) {
    // Without a sign and with 64 bits: the lower bits are the same.
    const auto wide_a = static_cast<std::uint64_t>(a);
    const auto wide_b = static_cast<std::uint64_t>(b);
    switch (op) {
        case ReduceOp::sum:
        case ReduceOp::avg:
            return static_cast<T>(wide_a + wide_b);
        case ReduceOp::prod:
            return static_cast<T>(wide_a * wide_b);
        case ReduceOp::min:
            return std::min(a, b);
        case ReduceOp::max:
            return std::max(a, b);
        case ReduceOp::band:
            return static_cast<T>(wide_a & wide_b);
        case ReduceOp::bor:
            return static_cast<T>(wide_a | wide_b);
        default:
            return static_cast<T>(wide_a ^ wide_b);
    }
}

inline bool fold_bools(ReduceOp op, bool a, bool b) {
    if (op == ReduceOp::bxor) return a != b;
    return op == ReduceOp::band || op == ReduceOp::min ? a && b : a || b;
}

/// From left to right, starting with the first.
template <typename Load, typename Fold>
auto fold_all(std::span<const Bits> values, Load load, Fold fold) {
    auto folded = load(values.front());
    for (const Bits value : values.subspan(1)) folded = fold(folded, load(value));
    return folded;
}

template <typename T>
Bits fold_as_integers(ReduceOp op, std::span<const Bits> values, std::size_t divisor) {
    const T folded = fold_all(
        values, [](Bits bits) { return static_cast<T>(bits); },
        [op](T a, T b) { return fold_integers(op, a, b); });
    using Wide = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
    const T result = static_cast<T>(static_cast<Wide>(folded) / static_cast<Wide>(divisor));
    return static_cast<std::make_unsigned_t<T>>(result);
}

template <typename T, typename Load>
T fold_as_floats(ReduceOp op, std::span<const Bits> values, std::size_t divisor, Load load) {
    const T folded = fold_all(values, load, [op](T a, T b) { return fold_floats(op, a, b); });
    const T result = divisor == 1 ? folded : folded / static_cast<T>(divisor);
    return std::isnan(result) ? std::numeric_limits<T>::quiet_NaN() : result;
}

/// One element of the result from that element of each source.
inline Bits fold(DType dtype, ReduceOp op, std::span<const Bits> values, std::size_t divisor) {
    switch (dtype) {
        case DType::boolean:
            return fold_all(
                values, [](Bits bits) { return bits != 0; },
                [op](bool a, bool b) { return fold_bools(op, a, b); });
        case DType::i8:
            return fold_as_integers<std::int8_t>(op, values, divisor);
        case DType::i16:
            return fold_as_integers<std::int16_t>(op, values, divisor);
        case DType::i32:
            return fold_as_integers<std::int32_t>(op, values, divisor);
        case DType::i64:
            return fold_as_integers<std::int64_t>(op, values, divisor);
        case DType::u8:
            return fold_as_integers<std::uint8_t>(op, values, divisor);
        case DType::u16:
            return fold_as_integers<std::uint16_t>(op, values, divisor);
        case DType::u32:
            return fold_as_integers<std::uint32_t>(op, values, divisor);
        case DType::u64:
            return fold_as_integers<std::uint64_t>(op, values, divisor);
        case DType::f16:
        case DType::bf16: {
            const Format16 format = dtype == DType::f16 ? half : bfloat;
            const auto load = [format](Bits bits) { return decode(format, bits); };
            return encode(format, fold_as_floats<float>(op, values, divisor, load));
        }
        case DType::f32:
            return std::bit_cast<std::uint32_t>(fold_as_floats<float>(
                op, values, divisor,
                [](Bits bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits)); }));
        case DType::f64:
            return std::bit_cast<Bits>(fold_as_floats<double>(
                op, values, divisor, [](Bits bits) { return std::bit_cast<double>(bits); }));
    }
    return 0;
}

}  // namespace pycoll::test::scalar
