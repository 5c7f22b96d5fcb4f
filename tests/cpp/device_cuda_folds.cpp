#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda/kernels_on_cpu.hpp"
#include "device/cuda/fold_arguments.hpp"
#include "device/host/reduce.hpp"
#include "device_operands.hpp"

// The source of the GPU's kernels, compiled for the CPU, against the host's folds.

namespace pycoll::test::device_cuda_folds {
namespace {

struct Shape {
    unsigned blocks;
    unsigned threads;
};

std::string kernel_name(ReduceOp op, DType dtype) {
    return "fold_" + std::string(name(op)) + "_" + std::string(name(dtype));
}

/// A fold by a kernel and by the host, compared bit by bit.
struct Comparison {
    DType dtype;
    ReduceOp op;
    std::size_t count;
    std::size_t sources;
    std::size_t size;  ///< `avg` divides by it

    /// `misaligned`: elements of the destination behind a boundary of 64 bytes; source s lies
    /// `apart` * (s + 1) elements further. `in_place`: the source that is the destination, if there
    /// is one of this number.
    void run(Shape shape, std::size_t misaligned, std::size_t apart, std::size_t in_place) const {
        Values values(dtype, 1000 * count + 10 * sources + misaligned);
        const std::size_t element = size_of(dtype);
        std::vector<Elements> memory;
        std::vector<const void*> srcs;
        memory.reserve(sources + 1);
        for (std::size_t s = 0; s < sources; ++s) {
            const std::size_t further = s == in_place ? 0 : apart * (s + 1);
            memory.emplace_back(dtype, count, (misaligned + further) * element % 64);
            for (std::size_t i = 0; i < count; ++i) memory[s].set(i, values.next());
            srcs.push_back(memory[s].data());
        }
        memory.emplace_back(dtype, count, misaligned * element % 64);
        Elements& dst = memory[std::min(in_place, sources)];
        Elements expected(dtype, count, 0);
        void* const dsts[] = {expected.data()};
        host::reduce_many(dtype, op, dsts, srcs, count, size, true);
        const std::vector<Elements> before = memory;

        cuda::FoldArguments arguments{};
        arguments.dst = dst.data();
        arguments.count = count;
        arguments.divisor = op == ReduceOp::avg ? static_cast<std::uint32_t>(size) : 1;
        arguments.sources = static_cast<std::uint32_t>(sources);
        std::ranges::copy(srcs, arguments.srcs);
        check(run_kernel_on_cpu(kernel_name(op, dtype).c_str(), shape.blocks, shape.threads,
                                arguments),
              "there is no " + kernel_name(op, dtype));

        const auto where = [&] {
            return kernel_name(op, dtype) + " of " + std::to_string(sources) + " x " +
                   std::to_string(count) + ", misaligned by " + std::to_string(misaligned) +
                   " and " + std::to_string(apart) + ", into source " + std::to_string(in_place) +
                   ", " + std::to_string(shape.blocks) + " x " + std::to_string(shape.threads) +
                   " threads";
        };
        for (std::size_t i = 0; i < count; ++i) {
            if (dst.get(i) == expected.get(i)) continue;
            check_equal(dst.get(i), expected.get(i), where() + ", element " + std::to_string(i));
        }
        for (std::size_t s = 0; s < memory.size(); ++s) {
            if (!memory[s].surroundings_intact()) check(false, where() + ": wrote outside");
            if (&memory[s] == &dst) continue;
            for (std::size_t i = 0; i < count; ++i) {
                if (memory[s].get(i) == before[s].get(i)) continue;
                check(false, where() + ": changed source " + std::to_string(s));
            }
        }
    }
};

template <typename Action>
void for_each_fold(Action&& action) {
    for (std::size_t dtype = 0; dtype < dtype_names.size(); ++dtype) {
        for (std::size_t op = 0; op < reduce_op_names.size(); ++op) {
            const auto as_dtype = static_cast<DType>(dtype);
            const auto as_op = static_cast<ReduceOp>(op);
            if (supports(as_op, as_dtype)) action(as_dtype, as_op);
        }
    }
}

constexpr Shape one_thread{1, 1};
constexpr Shape few_threads{3, 5};

const Test placements(
    "cuda fold: each kernel gives the host's bits for every count, alignment and launch shape", [] {
        for_each_fold([](DType dtype, ReduceOp op) {
            for (const std::size_t count : {0U, 1U, 2U, 15U, 16U, 17U, 33U, 300U}) {
                const Comparison one{dtype, op, count, 2, 3};
                for (const std::size_t misaligned : {0U, 1U, 3U}) {
                    one.run(few_threads, misaligned, 0, 0);
                    one.run(few_threads, misaligned, 1, 2);
                }
                // So far apart that the buffers lie alike again.
                one.run(one_thread, 1, 16 / size_of(dtype), 1);
                one.run({2, 256}, 1, 0, 2);
            }
        });
    });

const Test many_sources("cuda fold: of 1 to 9 and of 128 sources, from left to right", [] {
    for_each_fold([](DType dtype, ReduceOp op) {
        for (std::size_t sources = 1; sources <= 9; ++sources) {
            const Comparison one{dtype, op, 70, sources, 7};
            one.run(few_threads, 1, 0, sources / 2);
            one.run(few_threads, 0, 1, sources);
        }
        Comparison{dtype, op, 20, cuda::most_sources, 128}.run(few_threads, 0, 0, 0);
    });
});

const Test sizes_of_avg("cuda fold: avg divides by sizes beyond the range of the type", [] {
    for (const DType dtype : {DType::i8, DType::u16, DType::i32, DType::u32, DType::i64, DType::u64,
                              DType::f16, DType::bf16, DType::f32, DType::f64}) {
        for (const std::size_t size : {1U, 2U, 200U, 70'000U, 0x7fffffffU}) {
            Comparison{dtype, ReduceOp::avg, 100, 2, size}.run(few_threads, 0, 0, 2);
        }
    }
});

const Test every_half(
    "cuda fold: every f16 and bf16, alone and with partners, to the host's bits", [] {
        constexpr std::size_t every = 65536;
        std::vector<std::uint16_t> values(every);
        for (std::size_t i = 0; i < every; ++i) values[i] = static_cast<std::uint16_t>(i);
        for (const DType dtype : {DType::f16, DType::bf16}) {
            // The smallest denormal, near 1, the largest, and minus the smallest normal one.
            const bool half = dtype == DType::f16;
            for (const unsigned partner : {1U, half ? 0x3c01U : 0x3f81U, half ? 0x7bffU : 0x7f7fU,
                                           half ? 0x8400U : 0x8080U}) {
                const std::vector<std::uint16_t> partners(every,
                                                          static_cast<std::uint16_t>(partner));
                for (const ReduceOp op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::max}) {
                    const void* const srcs[] = {values.data(), partners.data()};
                    std::vector<std::uint16_t> expected(every);
                    void* const dsts[] = {expected.data()};
                    host::reduce_many(dtype, op, dsts, srcs, every, 1, true);
                    std::vector<std::uint16_t> result(every);
                    cuda::FoldArguments arguments{};
                    arguments.dst = result.data();
                    arguments.count = every;
                    arguments.divisor = 1;
                    arguments.sources = 2;
                    std::ranges::copy(srcs, arguments.srcs);
                    check(run_kernel_on_cpu(kernel_name(op, dtype).c_str(), 1, 64, arguments));
                    for (std::size_t i = 0; i < every; ++i) {
                        if (result[i] == expected[i]) continue;
                        check_equal(result[i], expected[i],
                                    kernel_name(op, dtype) + " of " + std::to_string(i) + " and " +
                                        std::to_string(partner));
                    }
                }
            }
        }
    });

const Test unknown("cuda fold: there are no kernels but those of supported folds", [] {
    const cuda::FoldArguments arguments{};
    for (const char* name : {"fold_bor_float32", "fold_sum_bool", "fold_sum_", "sum_float32"}) {
        check(!run_kernel_on_cpu(name, 1, 1, arguments), name);
    }
});

}  // namespace
}  // namespace pycoll::test::device_cuda_folds
