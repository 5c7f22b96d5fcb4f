// Every algorithm, executed by ranks that are threads, computes what a plain loop does.

#include <array>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "check.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"
#include "sanitized.hpp"

namespace pycoll::test {
namespace {

struct Kind {
    DType dtype;
    ReduceOp op;
};

/// Sums that wrap, exact floats, one that is folded wider than it is stored, divisions, logic.
constexpr std::array kinds = {
    Kind{DType::i32, ReduceOp::sum},      Kind{DType::u8, ReduceOp::sum},
    Kind{DType::f32, ReduceOp::prod},     Kind{DType::i64, ReduceOp::avg},
    Kind{DType::bf16, ReduceOp::avg},     Kind{DType::f64, ReduceOp::min},
    Kind{DType::i16, ReduceOp::max},      Kind{DType::u16, ReduceOp::bxor},
    Kind{DType::boolean, ReduceOp::band},
};

/// All forms of call that an algorithm serves, one kind of elements each, in turn.
std::vector<SampleCall::Shape> shapes_of(const Algorithm& algorithm, int size) {
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

/// By messages, and through shared memory on `nodes`, if there are any.
void run_all(const ThreadGroup::Options& network, int size, const Nodes& nodes = {}) {
    const Ranks ranks(size, network, {}, nodes);
    on_ranks(size, [&](int rank) {
        for (const Algorithm& algorithm : algorithms()) {
            if (!is_possible(algorithm, nodes)) continue;
            for (const SampleCall::Shape& shape : shapes_of(algorithm, size)) {
                const SampleCall sample(shape, rank);
                ranks[rank].run(sample.call());
                sample.check();
            }
        }
    });
}

const Test plain("engine: every algorithm on 1 to 8 ranks equals a plain loop", [] {
    for (const int size : {1, 2, 3, 4, 5, 7, 8}) run_all({}, size);
});

const Test on_one_node("engine: the same between ranks that share memory", [] {
    for (const int size : {2, 3, 4, 5, 7, 8}) {
        if (!is_sanitized || size <= 3) run_all({}, size, {size});
    }
});

const Test on_nodes("engine: the same between ranks of several nodes", [] {
    run_all({}, 5, {2, 3});
    run_all({}, 4, {1, 3});
    run_all({.seed = 4, .max_delay_polls = 3}, 8, {3, 5});
});

const Test delayed("engine: late messages change no result",
                   [] { run_all({.seed = 1, .max_delay_polls = 3, .rendezvous = 0.5}, 5); });

const Test buffered("engine: sends that never wait for a receiver change no result",
                    [] { run_all({.seed = 2, .max_delay_polls = 2, .rendezvous = 0}, 4); });

const Test rendezvous("engine: sends that always wait for a receiver change no result",
                      [] { run_all({.seed = 3, .max_delay_polls = 2, .rendezvous = 1}, 3); });

const Test every_dtype("engine: every operation on every data type that has it", [] {
    constexpr int size = 3;
    const Ranks ranks(size);
    on_ranks(size, [&](int rank) {
        for (std::size_t d = 0; d < dtype_names.size(); ++d) {
            for (std::size_t o = 0; o < reduce_op_names.size(); ++o) {
                const auto dtype = static_cast<DType>(d);
                const auto op = static_cast<ReduceOp>(o);
                // The kernels' own tests look at half floats.
                if (!supports(op, dtype) || dtype == DType::f16) continue;
                const SampleCall sample({.collective = Collective::all_reduce,
                                         .size = size,
                                         .count = 41,
                                         .dtype = dtype,
                                         .op = op},
                                        rank);
                ranks[rank].run(sample.call());
                sample.check();
            }
        }
    });
});

}  // namespace
}  // namespace pycoll::test
