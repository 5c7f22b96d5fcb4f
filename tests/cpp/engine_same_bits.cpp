// Floating-point results: the same bits on every rank and in every run, and as exact as a sum of
// rounded numbers can be.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "algorithms/algorithms.hpp"
#include "check.hpp"
#include "engine_ranks.hpp"
#include "sanitized.hpp"
#include "transport/shared/heap.hpp"

namespace pycoll::test::engine_same_bits {
namespace {

constexpr std::uint64_t count = 203;

/// What each rank ends with, as raw bits.
using Results = std::vector<std::vector<std::byte>>;

std::vector<float> input_of(int rank) {
    std::mt19937 random(static_cast<unsigned>(rank) + 1);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    // Numbers that show in which order, and how often, they were added.
    values[0] = rank % 2 == 0 ? 1e30F : -1e30F;
    values[1] = rank == 1 ? std::numeric_limits<float>::infinity() : 1;
    values[2] = rank == 1 ? std::numeric_limits<float>::quiet_NaN() : 1;
    values[3] = std::numeric_limits<float>::denorm_min();
    values[4] = rank == 0 ? 0.0F : -0.0F;
    return values;
}

/// Every rank's input, rounded to the data type.
std::vector<std::byte> stored(DType dtype, const std::vector<float>& values) {
    std::vector<std::byte> bytes(values.size() * size_of(dtype));
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (dtype == DType::f32) {
            std::memcpy(bytes.data() + 4 * i, &values[i], 4);
        } else {
            const auto upper =
                static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(values[i]) >> 16);
            std::memcpy(bytes.data() + 2 * i, &upper, 2);
        }
    }
    return bytes;
}

Nodes nodes_for(const Algorithm& algorithm, int size) {
    if (algorithm.spans_nodes) return {1, size - 1};
    return algorithm.reach == Reach::messages ? Nodes{} : Nodes{size};
}

/// In place in plain memory, else in registered memory.
Results run(const Algorithm& algorithm, DType dtype, ReduceOp op, int size,
            const ThreadGroup::Options& network, bool in_place) {
    const Ranks ranks(size, network, {}, nodes_for(algorithm, size));
    Results results(static_cast<std::size_t>(size));
    on_ranks(size, [&](int rank) {
        const std::vector<std::byte> input = stored(dtype, input_of(rank));
        std::vector<std::byte>& output = results[static_cast<std::size_t>(rank)];
        output = input;
        const auto registered = SharedHeap::instance().allocate(2 * input.size());
        std::ranges::copy(input, registered.get());
        ranks[rank].run({.collective = Collective::all_reduce,
                         .dtype = dtype,
                         .op = op,
                         .count = count,
                         .input = in_place ? output.data() : registered.get(),
                         .output = in_place ? output.data() : registered.get() + input.size(),
                         .algorithm = std::string(algorithm.name),
                         .chunk_bytes = algorithm.pipelined ? 64U : 0U});
        if (!in_place) std::copy_n(registered.get() + input.size(), input.size(), output.begin());
    });
    return results;
}

template <typename Visit>
void for_all_reduces(Visit&& visit) {
    for (const Algorithm& algorithm : algorithms()) {
        if (algorithm.collective != Collective::all_reduce) continue;
        for (const int size : {2, 3, 5, 8}) {
            if (!is_sanitized || size == 3) visit(algorithm, size);
        }
    }
}

const Test same_bits("engine: all ranks and all runs of an all-reduce end with the same bits", [] {
    for_all_reduces([](const Algorithm& algorithm, int size) {
        for (const DType dtype : {DType::f32, DType::bf16}) {
            for (const ReduceOp op : {ReduceOp::avg, ReduceOp::prod, ReduceOp::min}) {
                const Results calm = run(algorithm, dtype, op, size, {.seed = 5}, false);
                for (const auto& result : calm) {
                    check(result == calm[0], std::string(algorithm.name) + ": ranks differ");
                }
                const Results stormy =
                    run(algorithm, dtype, op, size,
                        {.seed = 6, .max_delay_polls = 7, .rendezvous = 0.8}, true);
                check(stormy == calm, std::string(algorithm.name) + ": runs differ");
            }
        }
    });
});

const Test exactness("engine: a sum is as exact as its number of additions allows", [] {
    for_all_reduces([](const Algorithm& algorithm, int size) {
        const Results results = run(algorithm, DType::f32, ReduceOp::sum, size, {}, false);
        for (std::uint64_t i = 5; i < count; ++i) {
            double exact = 0;
            double magnitude = 0;
            for (int rank = 0; rank < size; ++rank) {
                const double value = input_of(rank)[i];
                exact += value;
                magnitude += std::abs(value);
            }
            float sum = 0;
            std::memcpy(&sum, results[0].data() + 4 * i, 4);
            // Higham, Accuracy and Stability of Numerical Algorithms, 4.2: n - 1 additions in
            // any order.
            const double bound = (size - 1) * 0x1p-24 * magnitude * (1 + 1e-6);
            check(std::abs(sum - exact) <= bound, std::string(algorithm.name) + ": not exact");
        }
    });
});

}  // namespace
}  // namespace pycoll::test::engine_same_bits
