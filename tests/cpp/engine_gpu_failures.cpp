// Errors of CUDA end operations with CUDA's name for them, and nothing is left behind; mistakes in
// the order of what is on streams would be found.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"
#include "cuda/fake/fake_cuda.hpp"
#include "engine/progress.hpp"
#include "engine_gpu_ranks.hpp"
#include "sanitized.hpp"

namespace pycoll::test::engine_gpu_failures {
namespace {

constexpr int size = 2;
constexpr std::uint64_t count = 3000;

/// All-reduces one after the other, in many chunks of an array that is on the way for a while.
void reduce_on(const Ranks& ranks, Path path, int rank, int calls,
               const std::string& algorithm = "ring") {
    const int ordinal = gpu_of(path, rank);
    const auto array = GpuHeap::of(ordinal).allocate(count * sizeof(float));
    for (int i = 0; i < calls; ++i) {
        ranks[rank].run({.collective = Collective::all_reduce,
                         .dtype = DType::f32,
                         .op = ReduceOp::sum,
                         .count = count,
                         .input = array.get(),
                         .output = array.get(),
                         .algorithm = algorithm,
                         .chunk_bytes = 1024,
                         .gpu = OnGpu{.ordinal = ordinal}},
                        array);
    }
}

/// What is alive of a kind when nothing is outstanding any more: the progress thread keeps a
/// communicator until it has seen that.
struct Alive {
    Alive() {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (anything_is_watched()) {
            check(std::chrono::steady_clock::now() < deadline, "something stays outstanding");
            help_watched();
        }
        stop_progress();  // joins a thread that may just be dropping what it watched
        for (int gpu = 0; gpu < 2; ++gpu) {
            check(cuda::Gpu::at(gpu).disposal().wait_until(deadline), "memory is not freed");
        }
        allocations = fake_cuda_alive("allocations");
        pinned = fake_cuda_alive("pinned");
        streams = fake_cuda_alive("streams");
        events = fake_cuda_alive("events");
    }
    std::uint64_t allocations;
    std::uint64_t pinned;
    std::uint64_t streams;
    std::uint64_t events;
};

/// Nothing is left of a failed operation, but the memory of messages that may yet arrive.
void check_nothing_left(const Alive& before, const std::string& what) {
    constexpr std::uint64_t most_messages = 16;
    const Alive now;
    check_equal(now.allocations, before.allocations, what + ": memory of GPUs");
    check_equal(now.streams, before.streams, what + ": streams");
    check_equal(now.events, before.events, what + ": events");
    check(now.pinned <= before.pinned + most_messages, what + ": pinned memory is left");
}

/// A mistake at the driver, in place of one in the engine, must not go unseen. It changes nothing
/// where what is not waited for has ended by chance: then once more.
void find_planted(const char* mistake, Path path, const Nodes& nodes = {},
                  const std::string& algorithm = "ring") {
    constexpr int most_rounds = 50;
    const std::uint64_t races = fake_cuda_races();
    check(fake_cuda_plant(mistake) == 1, "the driver does not know the mistake");
    for (int round = 0; round < most_rounds && fake_cuda_races() == races; ++round) {
        const Ranks ranks = ranks_with(path, size, nodes);
        on_ranks(size, [&](int rank) { reduce_on(ranks, path, rank, 10, algorithm); });
    }
    fake_cuda_plant("");
    check(fake_cuda_races() > races, std::string(mistake) + " was not found " +
                                         path_names[static_cast<std::size_t>(path)] + ", " +
                                         algorithm);
}

const Test planted("GPU failures: what is not waited for is found", [] {
    // It would end the run for the very races that are planted.
    if (sees_races) return;
    find_planted("drop_wait_event", Path::pinned);
    find_planted("early_event", Path::pinned);
    find_planted("early_event", Path::aware);
    find_planted("early_event", Path::mapped, {size}, "one_shot");
    find_planted("early_event", Path::mapped, {size}, "staged");
    find_planted("wrong_stream", Path::pinned);
});

struct Injected {
    const char* function;
    std::uint64_t nth;
    int code;
    const char* name;
    bool sticks = false;
};

/// The rank that meets the error says so; the other one waits in vain.
void meet(const Injected& error, Path path, const Nodes& nodes = {}) {
    const Alive before;
    {
        const Ranks ranks = ranks_with(path, size, nodes, {}, std::chrono::milliseconds(300));
        // The first call sets things up.
        on_ranks(size, [&](int rank) { reduce_on(ranks, path, rank, 1); });
        std::vector<std::string> texts(size);
        fake_cuda_fail(error.function, error.nth, error.code);
        on_ranks(size, [&](int rank) {
            std::string& text = texts[static_cast<std::size_t>(rank)];
            try {
                reduce_on(ranks, path, rank, 4);
            } catch (const std::exception& thrown) {
                text = thrown.what();
            }
        });
        fake_cuda_clear_failures();
        int named = 0;
        for (const std::string& text : texts) {
            check(!text.empty(), std::string(error.function) + ": a rank heard of no error");
            if (text.find(error.name) != std::string::npos) ++named;
        }
        check(named > 0, std::string(error.function) + ": nobody names " + error.name + ", but '" +
                             texts[0] + "' and '" + texts[1] + "'");
        fake_cuda_repair();
    }
    // With an error that sticks, CUDA gives nothing back before the process ends.
    if (!error.sticks) check_nothing_left(before, error.function);
}

const Test injected("GPU failures: an error of CUDA is named, and leaves nothing behind", [] {
    // Heaps keep their memory.
    for (const int ordinal : {0, 1}) {
        const auto arrays = GpuHeap::of(ordinal).allocate(count * sizeof(float));
        static_cast<void>(cuda::Gpu::at(ordinal).arrivals());
    }
    for (const Injected& error : {
             Injected{"cuMemcpyAsync", 3, 1, "CUDA_ERROR_INVALID_VALUE"},
             Injected{"cuLaunchKernel", 2, 1, "CUDA_ERROR_INVALID_VALUE"},
             Injected{"cuEventRecord", 4, 400, "CUDA_ERROR_INVALID_HANDLE"},
             Injected{"cuEventQuery", 5, 400, "CUDA_ERROR_INVALID_HANDLE"},
             Injected{"cuLaunchKernel", 2, 719, "CUDA_ERROR_LAUNCH_FAILED", true},
             Injected{"kernel", 3, 700, "CUDA_ERROR_ILLEGAL_ADDRESS", true},
         }) {
        meet(error, Path::pinned);
    }
});

const Test memory("GPU failures: memory that is not to be had", [] {
    for (const char* const function : {"cuMemAlloc_v2", "cuMemHostAlloc"}) {
        const Alive before;
        {
            const Ranks ranks =
                ranks_with(Path::pinned, size, {}, {}, std::chrono::milliseconds(300));
            std::vector<std::string> texts(size);
            const auto array = GpuHeap::of(0).allocate(1);
            fake_cuda_fail(function, 1, 2);
            on_ranks(size, [&](int rank) {
                try {
                    reduce_on(ranks, Path::pinned, rank, 1);
                } catch (const std::exception& thrown) {
                    texts[static_cast<std::size_t>(rank)] = thrown.what();
                }
            });
            fake_cuda_clear_failures();
            check((texts[0] + texts[1]).find("CUDA_ERROR_OUT_OF_MEMORY") != std::string::npos,
                  std::string(function) + ": '" + texts[0] + "', '" + texts[1] + "'");
        }
        check_nothing_left(before, function);
    }
});

}  // namespace
}  // namespace pycoll::test::engine_gpu_failures
