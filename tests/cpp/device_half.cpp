#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "device/host/kernels.hpp"
#include "device_scalar.hpp"

namespace pycoll::test::device_half {
namespace {

constexpr std::size_t every = 65536;

std::vector<std::uint16_t> every_value() {
    std::vector<std::uint16_t> values(every);
    for (std::size_t i = 0; i < every; ++i) values[i] = static_cast<std::uint16_t>(i);
    return values;
}

void check_every_value(DType dtype, scalar::Format16 format) {
    const std::vector<std::uint16_t> values = every_value();
    const std::uint16_t nan = static_cast<std::uint16_t>(scalar::encode(format, std::nanf("")));
    for (const host::Kernels* kernels : host::runnable_kernels()) {
        std::vector<std::uint16_t> result(every);
        const void* const src[] = {values.data()};
        void* const dst[] = {result.data()};
        host::reduce_many(*kernels, dtype, ReduceOp::sum, dst, src, every, 1, true);
        for (std::size_t i = 0; i < every; ++i) {
            const bool is_nan = std::isnan(scalar::decode(format, i));
            check_equal(result[i], is_nan ? nan : values[i],
                        std::string(kernels->instruction_set) + " " + std::string(name(dtype)));
        }
    }
}

/// With partners that make sums and products which fall between two values, on ties, among the
/// denormals, beyond the largest, and NaNs.
void check_every_value_with(DType dtype, ReduceOp op, scalar::Format16 format) {
    const std::vector<std::uint16_t> values = every_value();
    const int unit = 1 << format.mantissa;
    const int infinity = format.all_ones << format.mantissa;
    for (const int partner : {1, unit - 1, unit, infinity / 2, 0x8000 | (infinity / 2 + 1),
                              infinity - 1, 0x8000 | (infinity / 3), infinity}) {
        const std::vector<std::uint16_t> partners(every, static_cast<std::uint16_t>(partner));
        std::vector<std::uint16_t> expected(every);
        for (std::size_t i = 0; i < every; ++i) {
            const scalar::Bits pair[] = {values[i], partners[i]};
            expected[i] = static_cast<std::uint16_t>(scalar::fold(dtype, op, pair, 1));
        }
        for (const host::Kernels* kernels : host::runnable_kernels()) {
            std::vector<std::uint16_t> result(every);
            const void* const srcs[] = {values.data(), partners.data()};
            void* const dst[] = {result.data()};
            host::reduce_many(*kernels, dtype, op, dst, srcs, every, 1, true);
            for (std::size_t i = 0; i < every; ++i) {
                if (result[i] == expected[i]) continue;
                check_equal(result[i], expected[i],
                            std::string(kernels->instruction_set) + " " + std::string(name(op)) +
                                " " + std::string(name(dtype)) + " of " + std::to_string(i) +
                                " and " + std::to_string(partner));
            }
        }
    }
}

const Test every_half("f16: all 65536 values survive a fold of one, NaNs as the one NaN",
                      [] { check_every_value(DType::f16, scalar::half); });
const Test every_bfloat("bf16: all 65536 values survive a fold of one, NaNs as the one NaN",
                        [] { check_every_value(DType::bf16, scalar::bfloat); });

const Test half_sums("f16: all values with eight partners, rounded to nearest even", [] {
    check_every_value_with(DType::f16, ReduceOp::sum, scalar::half);
    check_every_value_with(DType::f16, ReduceOp::prod, scalar::half);
});
const Test bfloat_sums("bf16: all values with eight partners, rounded to nearest even", [] {
    check_every_value_with(DType::bf16, ReduceOp::sum, scalar::bfloat);
    check_every_value_with(DType::bf16, ReduceOp::prod, scalar::bfloat);
});

const Test rounded_once(
    "f16: 2048 + 1 + 1 is 2050 when folded at once: the sum is rounded once", [] {
        const std::uint16_t two_to_11 = 0x6800;
        const std::uint16_t one = 0x3c00;
        for (const host::Kernels* kernels : host::runnable_kernels()) {
            const void* const srcs[] = {&two_to_11, &one, &one};
            std::uint16_t result = 0;
            void* const dst[] = {&result};
            host::reduce_many(*kernels, DType::f16, ReduceOp::sum, dst, srcs, 1, 3, true);
            check_equal(result, std::uint16_t{0x6801}, kernels->instruction_set);
        }
    });

}  // namespace
}  // namespace pycoll::test::device_half
