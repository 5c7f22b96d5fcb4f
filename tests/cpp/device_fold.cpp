#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "device/host/caches.hpp"
#include "device/host/kernels.hpp"
#include "device/host/reduce.hpp"
#include "device_operands.hpp"
#include "device_scalar.hpp"

namespace pycoll::test::device_fold {
namespace {

constexpr ReduceOp every_op[] = {ReduceOp::sum, ReduceOp::prod, ReduceOp::min, ReduceOp::max,
                                 ReduceOp::avg, ReduceOp::band, ReduceOp::bor, ReduceOp::bxor};
constexpr DType every_dtype[] = {DType::boolean, DType::i8,  DType::i16, DType::i32, DType::i64,
                                 DType::u8,      DType::u16, DType::u32, DType::u64, DType::f16,
                                 DType::bf16,    DType::f32, DType::f64};

// Around the vectors of 16, 32 and 64 bytes, around blocks of four of them; enough to be aligned
// first.
constexpr std::size_t counts[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 65, 1000, 1100};
// Bytes behind a boundary of 64: none, odd, and a multiple of every element.
constexpr std::size_t misalignments[] = {0, 1, 8};

/// A fold of some sources, on values that stay the same for every instruction set and placement.
struct Case {
    DType dtype;
    ReduceOp op;
    std::size_t count;
    std::size_t sources;
    std::size_t size = 1;  ///< `avg` divides by it
    std::vector<std::vector<scalar::Bits>> operands = {};
    std::vector<scalar::Bits> expected = {};

    void make() {
        Values values(dtype, 1000 * count + sources);
        operands.assign(count, std::vector<scalar::Bits>(sources));
        for (auto& element : operands) {
            for (scalar::Bits& value : element) value = values.next();
            expected.push_back(scalar::fold(dtype, op, element, op == ReduceOp::avg ? size : 1));
        }
    }

    /// Folds at this misalignment, into the sources of these numbers. The two numbers after the
    /// last source are those of memory of their own.
    void run(const host::Kernels& kernels, std::size_t misaligned,
             const std::vector<std::size_t>& into) const {
        std::vector<Elements> memory;
        for (std::size_t s = 0; s < sources + 2; ++s) {
            // The misalignments differ, but not if there is none.
            memory.emplace_back(dtype, count, misaligned == 0 ? 0 : misaligned + 8 * (s % 3));
        }
        std::vector<const void*> srcs;
        for (std::size_t s = 0; s < sources; ++s) {
            for (std::size_t i = 0; i < count; ++i) memory[s].set(i, operands[i][s]);
            srcs.push_back(memory[s].data());
        }
        std::vector<void*> dsts;
        for (const std::size_t to : into) dsts.push_back(memory[to].data());
        host::reduce_many(kernels, dtype, op, dsts, srcs, count, size, true);

        const auto where = [&] {
            std::string text = std::string(kernels.instruction_set) + " " + std::string(name(op)) +
                               " of " + std::to_string(sources) + " x " + std::to_string(count) +
                               " " + std::string(name(dtype)) + ", misaligned by " +
                               std::to_string(misaligned) + ", into";
            for (const std::size_t to : into) text += " " + std::to_string(to);
            return text;
        };
        for (const std::size_t to : into) {
            for (std::size_t i = 0; i < count; ++i) {
                if (memory[to].get(i) == expected[i]) continue;
                check_equal(
                    memory[to].get(i), expected[i],
                    where() + ": element " + std::to_string(i) + " of " + std::to_string(to));
            }
        }
        for (const Elements& elements : memory) {
            if (!elements.surroundings_intact()) check(false, where() + ": wrote outside");
        }
        for (std::size_t s = 0; s < sources; ++s) {
            if (std::ranges::find(into, s) != into.end()) continue;
            for (std::size_t i = 0; i < count; ++i) {
                if (memory[s].get(i) == operands[i][s]) continue;
                check(false, where() + ": changed source " + std::to_string(s));
            }
        }
    }
};

/// Every operation with every type that supports it.
template <typename Action>
void for_each_fold(Action&& action) {
    for (const DType dtype : every_dtype) {
        for (const ReduceOp op : every_op) {
            if (supports(op, dtype)) action(dtype, op);
        }
    }
}

const Test two_sources(
    "fold: each instruction set, dtype, op, count, alignment and placement gives the scalar bits",
    [] {
        for_each_fold([](DType dtype, ReduceOp op) {
            for (const std::size_t count : counts) {
                Case one{dtype, op, count, 2, 3};
                one.make();
                for (const host::Kernels* kernels : host::runnable_kernels()) {
                    for (const std::size_t misaligned : misalignments) {
                        for (const std::size_t in_place : {0U, 1U, 2U}) {
                            one.run(*kernels, misaligned, {in_place});
                        }
                    }
                }
            }
        });
    });

const Test many_sources(
    "fold: of 1, 3, 5, 20 sources from left to right, f16 and bf16 rounded once, into any of them",
    [] {
        for_each_fold([](DType dtype, ReduceOp op) {
            for (const std::size_t sources : {1U, 3U, 5U, 20U}) {
                Case one{dtype, op, 150, sources, 7};
                one.make();
                for (const host::Kernels* kernels : host::runnable_kernels()) {
                    for (const std::size_t in_place :
                         {std::size_t{0}, sources / 2, sources - 1, sources}) {
                        one.run(*kernels, in_place % 2, {in_place});
                    }
                }
            }
        });
    });

const Test many_destinations(
    "fold: into many sources and other memory at once, whatever the alignment of each", [] {
        for_each_fold([](DType dtype, ReduceOp op) {
            for (const std::size_t count : {1U, 33U, 1100U}) {
                Case one{dtype, op, count, 3, 3};
                one.make();
                for (const host::Kernels* kernels : host::runnable_kernels()) {
                    for (const std::size_t misaligned : misalignments) {
                        one.run(*kernels, misaligned, {1, 0, 2});
                        one.run(*kernels, misaligned, {3, 4});
                        one.run(*kernels, misaligned, {4, 2, 0, 3});
                    }
                }
            }
        });
    });

const Test sizes_of_avg("fold: avg divides by sizes beyond the range of the type", [] {
    for (const DType dtype : every_dtype) {
        if (!supports(ReduceOp::avg, dtype)) continue;
        for (const std::size_t size : {1U, 2U, 200U, 70'000U}) {
            Case one{dtype, ReduceOp::avg, 70, 2, size};
            one.make();
            for (const host::Kernels* kernels : host::runnable_kernels()) one.run(*kernels, 0, {0});
        }
    }
});

const Test chain("fold: of many equals the chain of folds of two, for types folded as they are",
                 [] {
                     constexpr std::size_t count = 100;
                     for_each_fold([](DType dtype, ReduceOp op) {
                         if (dtype == DType::f16 || dtype == DType::bf16) return;
                         Values values(dtype, 5);
                         std::vector<Elements> srcs(4, Elements(dtype, count, 0));
                         std::vector<const void*> from;
                         for (Elements& src : srcs) {
                             for (std::size_t i = 0; i < count; ++i) src.set(i, values.next());
                             from.push_back(src.data());
                         }
                         Elements at_once(dtype, count, 0);
                         void* const dsts[] = {at_once.data()};
                         host::reduce_many(dtype, op, dsts, from, count, 4, true);
                         Elements chained(dtype, count, 0);
                         void* const to = chained.data();
                         host::reduce(dtype, op, to, from[0], from[1], count);
                         host::reduce(dtype, op, to, to, from[2], count);
                         host::reduce_finish(dtype, op, to, to, from[3], count, 4);
                         for (std::size_t i = 0; i < count; ++i) {
                             check_equal(at_once.get(i), chained.get(i),
                                         std::string(name(op)) + " " + std::string(name(dtype)));
                         }
                     });
                 });

const Test avg_adds("fold: avg only adds before the last fold", [] {
    const std::int32_t left = 7;
    const std::int32_t right = 4;
    std::int32_t result = 0;
    host::reduce(DType::i32, ReduceOp::avg, &result, &left, &right, 1);
    check_equal(result, 11);
    const void* const srcs[] = {&left, &right, &left};
    void* const dsts[] = {&result};
    host::reduce_many(DType::i32, ReduceOp::avg, dsts, srcs, 1, 3, false);
    check_equal(result, 18);
    host::reduce_finish(DType::i32, ReduceOp::avg, &result, &left, &right, 1, 2);
    check_equal(result, 5);
});

const Test one_nan("fold: whichever NaN goes in, the one NaN comes out", [] {
    const std::uint32_t with_payload = 0xffc01234;
    const float one = 1;
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::min, ReduceOp::max}) {
        std::uint32_t result = 0;
        host::reduce(DType::f32, op, &result, &with_payload, &one, 1);
        check_equal(result, 0x7fc00000U, std::string(name(op)));
        host::reduce(DType::f32, op, &result, &one, &with_payload, 1);
        check_equal(result, 0x7fc00000U, std::string(name(op)));
    }
});

const Test nothing("fold and copy: nothing from nowhere is fine", [] {
    for_each_fold([](DType dtype, ReduceOp op) {
        host::reduce_finish(dtype, op, nullptr, nullptr, nullptr, 0, 2);
    });
    host::copy(nullptr, nullptr, 0);
});

const Test copies("copy: copies that many bytes", [] {
    const char from[] = "abc";
    char to[] = "xyz";
    host::copy(to, from, 2);
    check_equal(std::string(to), "abz");
});

const Test long_copies("copy: what is long, in whole and not in whole pieces", [] {
    constexpr std::size_t piece = 512 << 10;
    std::vector<std::uint32_t> from(3 * piece / sizeof(std::uint32_t));
    std::iota(from.begin(), from.end(), 1U);
    for (const std::size_t bytes : {piece - 4, piece, piece + 4, 2 * piece, 3 * piece - 4}) {
        std::vector<std::uint32_t> to(from.size());
        host::copy(to.data(), from.data(), bytes);
        std::vector<std::uint32_t> expected(from.size());
        std::copy_n(from.begin(), bytes / sizeof(std::uint32_t), expected.begin());
        check(to == expected, std::to_string(bytes) + " bytes");
    }
});

const Test past_caches("copy past the caches: every length, wherever the two begin", [] {
    std::vector<char> from(400);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<char>('a' + i % 23);
    for (std::size_t to_offset = 0; to_offset < 66; ++to_offset) {
        for (std::size_t bytes = 0; bytes < 300; bytes += bytes < 140 ? 1 : 37) {
            const std::size_t from_offset = (to_offset * 7 + bytes) % 65;
            std::vector<char> to(400, '.');
            host::copy_past_caches(to.data() + to_offset, from.data() + from_offset, bytes);
            std::vector<char> expected(400, '.');
            std::copy_n(from.data() + from_offset, bytes, expected.data() + to_offset);
            check(to == expected,
                  std::to_string(bytes) + " bytes to offset " + std::to_string(to_offset));
        }
    }
    host::copy_past_caches(nullptr, nullptr, 0);
});

const Test choice("fold: PYCOLL_ISA names an instruction set; an unknown one is refused", [] {
    const auto runnable = host::runnable_kernels();
    check(&host::choose_kernels(nullptr) == runnable.front(), "the best by default");
    check(&host::choose_kernels("") == runnable.front(), "the best if empty");
    for (const host::Kernels* kernels : runnable) {
        check(&host::choose_kernels(kernels->instruction_set) == kernels, "the one named");
    }
    check_equal(std::string(runnable.back()->instruction_set), "baseline");
    check_throws<std::invalid_argument>([] { (void)host::choose_kernels("abacus"); },
                                        "PYCOLL_ISA is 'abacus'");
    check_throws<std::invalid_argument>([] { (void)host::choose_kernels("abacus"); }, "baseline;");
    check_equal(host::instruction_set(),
                host::choose_kernels(std::getenv("PYCOLL_ISA")).instruction_set);
});

const Test kept("caches: taking lines over changes nothing, and touches nothing beside", [] {
    for (const std::size_t misaligned : {0U, 1U, 60U}) {
        for (const std::size_t bytes : {0U, 1U, 5U, 64U, 1000U}) {
            Elements elements(DType::u8, bytes, misaligned);
            for (std::size_t i = 0; i < bytes; ++i) elements.set(i, scalar::Bits(i * 7 % 251));
            host::take_lines_over(elements.data(), bytes);
            for (std::size_t i = 0; i < bytes; ++i) {
                check_equal(elements.get(i), scalar::Bits(i * 7 % 251));
            }
            check(elements.surroundings_intact());
        }
    }
});

}  // namespace
}  // namespace pycoll::test::device_fold
