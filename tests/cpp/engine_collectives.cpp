// Every algorithm, executed by ranks that are threads, computes what a plain loop does.

#include <array>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "check.hpp"
#include "engine_ranks.hpp"
#include "engine_sample_call.hpp"
#include "engine_shapes.hpp"
#include "sanitized.hpp"

namespace pycoll::test::engine_collectives {
namespace {

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
}  // namespace pycoll::test::engine_collectives
