#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "engine_sample_call.hpp"

namespace pycoll::test {

struct Kind {
    DType dtype;
    ReduceOp op;
};

/// Sums that wrap, exact floats, one that is folded wider than it is stored, divisions, logic.
inline constexpr std::array kinds = {
    Kind{DType::i32, ReduceOp::sum},      Kind{DType::u8, ReduceOp::sum},
    Kind{DType::f32, ReduceOp::prod},     Kind{DType::i64, ReduceOp::avg},
    Kind{DType::bf16, ReduceOp::avg},     Kind{DType::f64, ReduceOp::min},
    Kind{DType::i16, ReduceOp::max},      Kind{DType::u16, ReduceOp::bxor},
    Kind{DType::boolean, ReduceOp::band},
};

/// All forms of call that an algorithm serves, one kind of elements each, in turn.
inline std::vector<SampleCall::Shape> shapes_of(const Algorithm& algorithm, int size) {
    const Collective collective = algorithm.collective;
    const auto ranks = static_cast<std::uint64_t>(size);
    std::vector<SampleCall::Shape> shapes;
    for (const std::uint64_t count :
         {std::uint64_t{0}, std::uint64_t{1}, ranks - 1, ranks + 1, std::uint64_t{37}}) {
        for (const int root : {0, size - 1}) {
            if (root > 0 && !rooted(collective)) continue;
            for (const bool in_place : {false, true}) {
                if (in_place && collective == Collective::all_to_all) continue;
                for (const std::uint64_t chunk : {0, 3}) {
                    if (chunk > 0 && !algorithm.pipelined) continue;
                    for (const bool with_counts : {false, true}) {
                        if (with_counts && !algorithm.takes_counts) continue;
                        const Kind kind = kinds[shapes.size() % kinds.size()];
                        shapes.push_back({.collective = collective,
                                          .size = size,
                                          .count = count,
                                          .root = root,
                                          .in_place = in_place,
                                          .with_counts = with_counts,
                                          .dtype = kind.dtype,
                                          .op = reduces(collective) ? kind.op : ReduceOp::sum,
                                          .algorithm = std::string(algorithm.name),
                                          .chunk_bytes = chunk * size_of(kind.dtype)});
                    }
                }
            }
        }
    }
    return shapes;
}

}  // namespace pycoll::test
