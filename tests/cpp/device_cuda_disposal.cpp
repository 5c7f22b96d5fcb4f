#include "device/cuda/disposal.hpp"

#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "device/cuda/gpu.hpp"
#include "fake_cuda.hpp"
#include "held_stream.hpp"

// Memory goes back to CUDA without anybody waiting for the GPU.

namespace pycoll::test::device_cuda_disposal {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::size_t bytes = 1000;
constexpr auto long_enough = 30s;

std::uint64_t alive() { return fake_cuda_alive("allocations") + fake_cuda_alive("pinned"); }

/// Also of what tests before have let go of.
void wait_for_all(cuda::Gpu& gpu) {
    check(gpu.disposal().wait_until(Clock::now() + long_enough), "something is still being freed");
}

const Test freeing("GPU memory: to let go of it does not wait for a stream", [] {
    cuda::Gpu& gpu = cuda::Gpu::at(0);
    HeldStream stream(gpu);
    wait_for_all(gpu);
    const std::uint64_t before = alive();
    std::byte* const memory = gpu.memory().allocate(bytes);
    std::byte* const pinned = gpu.pinned().allocate(bytes);
    stream.hold();
    auto freed = std::async(std::launch::async, [&] {
        gpu.memory().free(memory);
        gpu.pinned().free(pinned);
    });
    const bool did_not_wait = freed.wait_for(long_enough) == std::future_status::ready;
    const std::uint64_t meanwhile = alive();
    stream.let_go();
    check(did_not_wait, "who lets go of memory waits for a stream");
    check_equal(meanwhile, before + 2, "what CUDA has taken back while a stream was busy");
    wait_for_all(gpu);
    check_equal(alive(), before, "what is left in the end");
});

const Test unknown("GPU memory: a GPU that cannot be used leaves the others as they are", [] {
    check_throws<cuda::CudaError>([] { static_cast<void>(cuda::Gpu::at(99)); }, "INVALID_DEVICE");
    check_throws<cuda::CudaError>([] { static_cast<void>(cuda::Gpu::at(99)); }, "INVALID_DEVICE");
    wait_for_all(cuda::Gpu::at(0));
});

const Test again("GPU memory: what is being freed can be had again", [] {
    cuda::Gpu& gpu = cuda::Gpu::at(0);
    HeldStream stream(gpu);
    std::byte* const memory = gpu.memory().allocate(bytes);
    stream.hold();
    gpu.memory().free(memory);
    const std::uint64_t calls = fake_cuda_calls("cuMemAlloc_v2");
    fake_cuda_fail("cuMemAlloc_v2", 1, cuda::out_of_memory);
    auto had = std::async(std::launch::async, [&] { return gpu.memory().allocate(bytes); });
    const auto deadline = Clock::now() + long_enough;
    while (fake_cuda_calls("cuMemAlloc_v2") == calls && Clock::now() < deadline) {
        std::this_thread::yield();
    }
    check(had.wait_for(0s) == std::future_status::timeout, "it did not wait for what is freed");
    stream.let_go();
    gpu.memory().free(had.get());
    fake_cuda_clear_failures();
    wait_for_all(gpu);
});

const Test none("GPU memory: there is no wait for more where nothing is being freed", [] {
    cuda::Gpu& gpu = cuda::Gpu::at(0);
    wait_for_all(gpu);
    for (const char* const function : {"cuMemAlloc_v2", "cuMemHostAlloc"}) {
        const std::uint64_t calls = fake_cuda_calls(function);
        fake_cuda_fail(function, 1, cuda::out_of_memory);
        auto& source = function == std::string("cuMemAlloc_v2") ? gpu.memory() : gpu.pinned();
        check_throws<cuda::CudaError>([&] { static_cast<void>(source.allocate(bytes)); },
                                      "CUDA_ERROR_OUT_OF_MEMORY");
        check_equal(fake_cuda_calls(function), calls + 1, "tries");
    }
    fake_cuda_clear_failures();
});

const Test many("GPU memory: several threads let go of it at once", [] {
    cuda::Gpu& gpu = cuda::Gpu::at(0);
    wait_for_all(gpu);
    const std::uint64_t before = alive();
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] {
                for (int round = 0; round < 50; ++round) {
                    gpu.memory().free(gpu.memory().allocate(bytes));
                    gpu.pinned().free(gpu.pinned().allocate(bytes));
                }
            });
        }
    }
    wait_for_all(gpu);
    check_equal(alive(), before, "what is left");
});

}  // namespace
}  // namespace pycoll::test::device_cuda_disposal
