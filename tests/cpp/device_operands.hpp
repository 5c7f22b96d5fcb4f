#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "core/dtype.hpp"
#include "device_scalar.hpp"

/// Operands of folds in the tests: values as bits, and memory at a chosen misalignment.
namespace pycoll::test {

/// Values at which types differ from plain arithmetic: both zeros, the largest and smallest,
/// denormals, inf, quiet and signalling NaNs with a payload, and what makes integers wrap.
inline std::vector<scalar::Bits> special_values(DType dtype) {
    const std::size_t bits = 8 * size_of(dtype);
    const scalar::Bits sign = scalar::Bits{1} << (bits - 1);
    std::vector<scalar::Bits> values = {0, 1, 2, 3, sign, sign - 1, sign + 1, ~scalar::Bits{0}};
    if (!is_floating(dtype)) return values;
    const int mantissa = dtype == DType::f16    ? 10
                         : dtype == DType::bf16 ? 7
                         : dtype == DType::f32  ? 23
                                                : 52;
    const scalar::Bits infinity = (sign - 1) >> mantissa << mantissa;
    const scalar::Bits one = (infinity >> 1) & infinity;
    const scalar::Bits quiet = scalar::Bits{1} << (mantissa - 1);
    for (const scalar::Bits value :
         {infinity, infinity - 1, infinity | quiet, infinity | quiet | 5, infinity | 3, one,
          one + 1, scalar::Bits{1} << mantissa, (scalar::Bits{1} << mantissa) - 1}) {
        values.push_back(value);
        values.push_back(value | sign);
    }
    return values;
}

/// A third special, a third of any bits, and a third that is, for floating types, near 1: products
/// of many would be zero or infinite otherwise.
class Values {
public:
    Values(DType dtype, std::uint64_t seed)
        : dtype_(dtype), special_(special_values(dtype)), random_(seed) {}

    scalar::Bits next() {
        const std::size_t bits = 8 * size_of(dtype_);
        const scalar::Bits mask = ~scalar::Bits{0} >> (64 - bits);
        const scalar::Bits any = random_() & mask;
        switch (random_() % 3) {
            case 0:
                return special_[random_() % special_.size()] & mask;
            case 1:
                return any;
            default:
                return is_floating(dtype_) ? near_one(any, bits) : any;
        }
    }

private:
    /// The exponent is made to start with 1000 or 0111.
    static scalar::Bits near_one(scalar::Bits any, std::size_t bits) {
        const scalar::Bits first = scalar::Bits{1} << (bits - 2);
        const scalar::Bits others = (first >> 1) | (first >> 2) | (first >> 3);
        return (any & first) != 0 ? any & ~others : any | others;
    }

    DType dtype_;
    std::vector<scalar::Bits> special_;
    std::mt19937_64 random_;
};

/// Elements `misaligned` bytes behind a boundary of 64, with bytes before and behind them that must
/// not change. Little-endian, as every host these tests know.
class Elements {
public:
    Elements(DType dtype, std::size_t count, std::size_t misaligned)
        : size_(size_of(dtype)), count_(count), memory_(count * size_ + 3 * guard, filler) {
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        begin_ = (guard - address % guard) % guard + guard + misaligned;
    }

    [[nodiscard]] std::byte* data() { return memory_.data() + begin_; }

    void set(std::size_t i, scalar::Bits bits) { std::memcpy(data() + i * size_, &bits, size_); }

    [[nodiscard]] scalar::Bits get(std::size_t i) const {
        scalar::Bits bits = 0;
        std::memcpy(&bits, memory_.data() + begin_ + i * size_, size_);
        return bits;
    }

    [[nodiscard]] bool surroundings_intact() const {
        const std::span<const std::byte> all = memory_;
        const auto intact = [](std::byte byte) { return byte == filler; };
        return std::ranges::all_of(all.first(begin_), intact) &&
               std::ranges::all_of(all.subspan(begin_ + count_ * size_), intact);
    }

private:
    static constexpr std::size_t guard = 64;
    static constexpr std::byte filler{0xa5};

    std::size_t size_;
    std::size_t count_;
    std::size_t begin_ = 0;
    std::vector<std::byte> memory_;
};

}  // namespace pycoll::test
