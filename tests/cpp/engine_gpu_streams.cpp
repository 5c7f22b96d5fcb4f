// Operations on GPUs come after what is on the streams that they are told, and streams can be put
// behind them.

#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "check.hpp"
#include "cuda/fake/fake_cuda.hpp"
#include "engine_gpu_ranks.hpp"
#include "held_stream.hpp"

namespace pycoll::test::engine_gpu_streams {
namespace {

constexpr int count = 1000;
constexpr std::size_t bytes = count * sizeof(std::int32_t);

Call sum(std::byte* memory, int gpu, cuda::Stream after) {
    return {.collective = Collective::all_reduce,
            .dtype = DType::i32,
            .op = ReduceOp::sum,
            .count = count,
            .input = memory,
            .output = memory,
            .gpu = OnGpu{.ordinal = gpu, .after = {after}}};
}

std::int32_t first(const std::byte* memory) {
    std::int32_t value = 0;
    std::memcpy(&value, fake_cuda_alias(memory), sizeof value);
    return value;
}

void run_between_streams(Path path, const Nodes& nodes) {
    const std::uint64_t races = fake_cuda_races();
    constexpr int size = 2;
    const Ranks ranks = ranks_with(path, size, nodes);
    on_ranks(size, [&](int rank) {
        const int ordinal = gpu_of(path, rank);
        cuda::Gpu& gpu = cuda::Gpu::at(ordinal);
        const auto array = GpuHeap::of(ordinal).allocate(bytes);
        const auto seen = GpuHeap::of(ordinal).allocate(bytes);
        HeldStream stream(gpu);
        stream.fill(array.get(), 0, bytes);
        stream.hold();
        stream.fill(array.get(), 1, bytes);
        Work work = ranks[rank].start(sum(array.get(), ordinal, stream.stream), array);
        work.order(stream.stream);
        stream.copy(seen.get(), array.get(), bytes);
        check(!work.test(), "the call came before what is on the stream");
        stream.let_go();
        stream.synchronize();
        check_equal(first(seen.get()), 0x02020202, "what the stream sees after the call");
        work.wait();
    });
    check_equal(fake_cuda_races(), races, "races");
}

const Test order("GPU streams: calls come after what is on a stream, and it after them", [] {
    run_between_streams(Path::pinned, {});
    run_between_streams(Path::aware, {});
    run_between_streams(Path::mapped, {2});
});

const Test failing("GPU streams: one that waits for a call goes on when the call has failed", [] {
    const Ranks ranks = ranks_with(Path::pinned, 2, {}, {}, std::chrono::milliseconds(50));
    cuda::Gpu& gpu = cuda::Gpu::at(0);
    const auto array = GpuHeap::of(0).allocate(bytes);
    HeldStream stream(gpu);
    Work work = ranks[0].recv({array.get(), bytes}, 1, 0, array, OnGpu{.ordinal = 0});
    work.order(stream.stream);
    stream.synchronize();
    check_throws<TimeoutError>([&] { work.wait(); }, "gave up after 0.05 s");
});

const Test growing("GPU streams: memory is had while a stream waits for a call", [] {
    // Getting it waits for that stream, which waits for the first call; the second call needs more.
    constexpr int size = 2;
    constexpr std::size_t longer = 100 * count;
    std::barrier both_wait(size);
    const Ranks ranks = ranks_with(Path::pinned, size, {}, {}, std::chrono::seconds(20));
    on_ranks(size, [&](int rank) {
        cuda::Gpu& gpu = cuda::Gpu::at(rank);
        const auto array = GpuHeap::of(rank).allocate(bytes);
        const auto large = GpuHeap::of(rank).allocate(longer * sizeof(std::int32_t));
        HeldStream stream(gpu);
        Work first = ranks[rank].start(sum(array.get(), rank, stream.stream), array);
        first.order(stream.stream);
        Call call = sum(large.get(), rank, gpu.arrivals());
        call.count = longer;
        both_wait.arrive_and_wait();
        fake_cuda_allocations_wait(1);
        ranks[rank].run(call, large);
        first.wait();
    });
    fake_cuda_allocations_wait(0);
});

const Test going(
    "GPU streams: communicators go while a stream waits for a call on another one", [] {
        // They give memory back, for which CUDA waits for that stream, which waits for the progress
        // thread, which drops the last references to them.
        constexpr int size = 2;
        const std::uint64_t races = fake_cuda_races();
        const auto start = [](const Ranks& on, int rank) {
            const auto array = GpuHeap::of(rank).allocate(bytes);
            return on[rank].start(sum(array.get(), rank, cuda::Gpu::at(rank).arrivals()), array);
        };
        const Ranks ranks = ranks_with(Path::pinned, size);
        HeldStream stream(cuda::Gpu::at(0));
        on_ranks(size, [&](int rank) { start(ranks, rank).wait(); });
        Work first = start(ranks, 0);
        first.order(stream.stream);
        stream.mark();
        {
            const Ranks others = ranks_with(Path::pinned, size);
            on_ranks(size, [&](int rank) { static_cast<void>(start(others, rank)); });
        }
        Work second = start(ranks, 1);
        const auto deadline = Clock::now() + std::chrono::seconds(30);
        while (!stream.has_reached_mark() && Clock::now() < deadline) std::this_thread::yield();
        check(stream.has_reached_mark(), "the progress thread does not move the call along");
        first.wait();
        second.wait();
        check_equal(fake_cuda_races(), races, "races");
    });

const Test highest("GPU streams: one of the highest priority has the host wait", [] {
    constexpr int size = 2;
    const Ranks ranks = ranks_with(Path::pinned, size);
    on_ranks(size, [&](int rank) {
        cuda::Gpu& gpu = cuda::Gpu::at(rank);
        const auto array = GpuHeap::of(rank).allocate(bytes);
        Work work = ranks[rank].start(sum(array.get(), rank, gpu.arrivals()), array);
        work.order(gpu.arrivals());
        check(work.test(), "the host did not wait");
    });
});

const Test another("GPU: a communicator keeps to the GPU that it was used with", [] {
    const Ranks ranks = ranks_with(Path::pinned, 1);
    const auto array = GpuHeap::of(0).allocate(bytes);
    const auto other = GpuHeap::of(1).allocate(bytes);
    ranks[0].run(sum(array.get(), 0, cuda::Gpu::at(0).arrivals()));
    check_throws<std::invalid_argument>(
        [&] { ranks[0].run(sum(other.get(), 1, cuda::Gpu::at(1).arrivals())); },
        "lie on GPU 1, but this communicator was used with GPU 0 before");
    ranks[0].run(sum(array.get(), 0, cuda::Gpu::at(0).arrivals()));
});

const Test mixture("GPU: ranks of a node that disagree about GPUs are told", [] {
    constexpr int size = 3;
    const Ranks ranks = ranks_with(Path::mapped, size, {size});
    on_ranks(size, [&](int rank) {
        const auto array = GpuHeap::of(0).allocate(bytes);
        std::vector<std::int32_t> plain(count);
        Call call = sum(array.get(), 0, cuda::Gpu::at(0).arrivals());
        if (rank == 1) {
            call.input = call.output = plain.data();
            call.gpu.reset();
        }
        check_throws<CollectiveError>([&] { ranks[rank].run(call); },
                                      rank == 1 ? "on GPUs" : "on hosts");
    });
});

}  // namespace
}  // namespace pycoll::test::engine_gpu_streams
