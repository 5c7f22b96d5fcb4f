// Operations on GPUs compute what a plain loop does, on a driver that delays what is on its
// streams, does not let the host touch the memory of its GPUs, and reports races.

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "check.hpp"
#include "cuda/fake/fake_cuda.hpp"
#include "engine_gpu_ranks.hpp"
#include "engine_sample_call.hpp"
#include "engine_shapes.hpp"
#include "sanitized.hpp"

namespace pycoll::test::engine_gpu {
namespace {

/// All algorithms that the ranks can use, each with every `stride`th form of call. Arrays of every
/// other call are registered.
void run_all(Path path, int size, const Nodes& nodes, std::size_t stride) {
    const Ranks ranks = ranks_with(path, size, nodes, {.seed = 3, .max_delay_polls = 2});
    on_ranks(size, [&](int rank) {
        std::size_t number = 0;
        for (const Algorithm& algorithm : algorithms()) {
            const bool is_reached =
                path == Path::mapped ? is_possible(algorithm, nodes)
                                     : algorithm.reach == Reach::messages && !algorithm.spans_nodes;
            if (!is_reached || algorithm.collective == Collective::barrier) continue;
            for (SampleCall::Shape shape : shapes_of(algorithm, size)) {
                if (++number % stride != 0) continue;
                shape.gpu = gpu_of(path, rank);
                shape.registered = number / stride % 2 == 0;
                const SampleCall sample(shape, rank);
                ranks[rank].run(sample.call());
                sample.check();
            }
        }
    });
}

void run_without_races(Path path, int size, const Nodes& nodes = {}) {
    const std::uint64_t races = fake_cuda_races();
    run_all(path, size, nodes, is_sanitized ? 37 : 5);
    check_equal(fake_cuda_races(), races,
                std::string("races ") + path_names[static_cast<std::size_t>(path)]);
}

const Test pinned("GPU: every algorithm through pinned memory equals a plain loop", [] {
    for (const int size : {1, 2, 3, 4, 5, 7, 8}) run_without_races(Path::pinned, size);
});

const Test aware("GPU: the same by messages from GPU to GPU", [] {
    for (const int size : {1, 2, 3, 4, 5, 7, 8}) run_without_races(Path::aware, size);
});

const Test mapped("GPU: the same between ranks that see each other's GPUs", [] {
    for (const int size : {2, 3, 4}) run_without_races(Path::mapped, size, {size});
});

const Test on_nodes("GPU: the same between ranks of several nodes", [] {
    run_without_races(Path::mapped, 5, {2, 3});
    run_without_races(Path::pinned, 4, {2, 2});
});

const Test messages("GPU: messages between GPUs and hosts keep their order", [] {
    const Ranks ranks = ranks_with(Path::pinned, 2);
    constexpr std::size_t bytes = 4096;
    constexpr int count = 6;
    std::array<std::vector<std::byte*>, 2> seen;
    std::array<std::vector<std::shared_ptr<std::byte>>, 2> memory;
    for (const int rank : {0, 1}) {
        for (int i = 0; i < count; ++i) {
            // Every other one on the host; the sender's other ones.
            const bool on_gpu = (i + rank) % 2 == 0;
            std::shared_ptr<std::byte> block;
            if (on_gpu) {
                block = GpuHeap::of(rank).allocate(bytes);
            } else {
                const auto plain = std::make_shared<std::vector<std::byte>>(bytes);
                block = {plain, plain->data()};
            }
            std::byte* const at =
                on_gpu ? static_cast<std::byte*>(fake_cuda_alias(block.get())) : block.get();
            std::fill_n(at, bytes, static_cast<std::byte>(rank == 0 ? i + 1 : 0));
            memory[static_cast<std::size_t>(rank)].push_back(block);
            seen[static_cast<std::size_t>(rank)].push_back(at);
        }
    }
    on_ranks(2, [&](int rank) {
        std::vector<Work> works;
        for (int i = 0; i < count; ++i) {
            const auto& block = memory[static_cast<std::size_t>(rank)][static_cast<std::size_t>(i)];
            std::optional<OnGpu> gpu;
            if ((i + rank) % 2 == 0) gpu = OnGpu{.ordinal = rank};
            if (rank == 0) {
                works.push_back(ranks[0].send({block.get(), bytes}, 1, 0, block, gpu));
            } else {
                works.push_back(ranks[1].recv({block.get(), bytes}, 0, 0, block, gpu));
            }
        }
        for (Work& work : works) work.wait();
    });
    for (std::size_t i = 0; i < count; ++i) {
        check_equal(static_cast<int>(seen[1][i][bytes - 1]), static_cast<int>(i + 1), "message");
    }
});

}  // namespace
}  // namespace pycoll::test::engine_gpu
