#include <array>
#include <string_view>

#include "fake_cuda.hpp"

namespace pycoll::test::fake_cuda_failures {
namespace {

using cuda::Address;

constexpr cuda::Result illegal_address = 700;
constexpr cuda::Result misaligned_address = 716;
constexpr cuda::Result launch_failed = 719;

/// No failures and no errors that stick are left behind.
struct Repaired {
    Repaired() = default;
    ~Repaired() {
        fake_cuda_clear_failures();
        fake_cuda_repair();
    }
    Repaired(const Repaired&) = delete;
    Repaired& operator=(const Repaired&) = delete;
};

const Test nth_call("fake_cuda: the call that is to fail does, the others do not", [] {
    const Repaired repaired;
    FakeGpu gpu;
    fake_cuda_fail("cuMemAlloc_v2", 2, cuda::out_of_memory);
    static_cast<void>(gpu.allocate(1));
    Address memory = 0;
    check_equal(gpu.driver.allocate(&memory, 1), cuda::out_of_memory);
    static_cast<void>(gpu.allocate(1));
    fake_cuda_fail("*", 2, cuda::out_of_memory);
    const auto event = gpu.event();
    check_equal(gpu.driver.query_event(event), cuda::out_of_memory);
});

const Test named("fake_cuda: errors have their names", [] {
    FakeGpu gpu;
    check_throws<cuda::CudaError>([&] { gpu.driver.require(launch_failed, "cuMemcpyAsync"); },
                                  "cuMemcpyAsync: CUDA_ERROR_LAUNCH_FAILED (unspecified");
});

const Test sticky("fake_cuda: after a kernel has failed, all calls do", [] {
    const Repaired repaired;
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const auto event = gpu.event();
    const Address memory = gpu.allocate(4);
    fake_cuda_fail("kernel", 1, launch_failed);
    check_equal(gpu.sum(memory, {memory}, 1, stream), cuda::success, "the launch");
    static_cast<void>(gpu.driver.record_event(event, stream));
    check_equal(gpu.driver.synchronize_stream(stream), launch_failed, "the stream");
    check_equal(gpu.driver.query_event(event), launch_failed);
    check_equal(gpu.sum(memory, {memory}, 1, stream), launch_failed);
    Address more = 0;
    check_equal(gpu.driver.allocate(&more, 1), launch_failed);
    const FakeGpu other(1);
    require(other.driver.allocate(&more, 1));
    require(other.driver.free(more));
});

const Test illegal("fake_cuda: kernels that touch what is not theirs fail", [] {
    FakeGpu gpu;
    FakeGpu other(1);
    const FakeGpu& again = gpu;
    const Address others = other.allocate(16);
    cuda::Context context = nullptr;
    require(again.driver.retain_context(&context, 0));
    require(again.driver.push_context(context));
    const auto stream = gpu.stream();
    const Address memory = gpu.allocate(16);
    float own = 0;
    const auto result_of = [&](Address src, std::uint64_t count) {
        const Repaired repaired;
        require(gpu.sum(memory, {src}, count, stream));
        return gpu.driver.synchronize_stream(stream);
    };
    check_equal(result_of(memory, 4), cuda::success);
    check_equal(result_of(memory, 5), illegal_address, "beyond the end");
    check_equal(result_of(memory + 2, 1), misaligned_address);
    check_equal(result_of(address_of(&own), 1), illegal_address, "memory of the host");
    check_equal(result_of(others, 1), illegal_address, "memory of another GPU");
    require(gpu.driver.pop_context(nullptr));
});

const Test counts("fake_cuda: what is alive is counted, also after an error that sticks", [] {
    constexpr std::array<const char*, 7> kinds{"allocations", "bytes",  "pinned", "pinned_bytes",
                                               "streams",     "events", "modules"};
    std::array<std::uint64_t, kinds.size()> before{};
    for (std::size_t i = 0; i < kinds.size(); ++i) before[i] = fake_cuda_alive(kinds[i]);
    {
        const Repaired repaired;
        FakeGpu gpu;
        const auto stream = gpu.stream();
        static_cast<void>(gpu.event());
        static_cast<void>(gpu.allocate_pinned(30));
        const Address memory = gpu.allocate(40);
        fake_cuda_fail("kernel", 1, illegal_address);
        static_cast<void>(gpu.sum(memory, {memory}, 1, stream));
        check_equal(gpu.driver.synchronize_stream(stream), illegal_address);
        constexpr std::array<std::uint64_t, kinds.size()> more{1, 40, 1, 30, 1, 1, 1};
        for (std::size_t i = 0; i < kinds.size(); ++i) {
            check_equal(fake_cuda_alive(kinds[i]), before[i] + more[i], kinds[i]);
        }
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        check_equal(fake_cuda_alive(kinds[i]), before[i], kinds[i]);
    }
});

const Test freed_early("fake_cuda: memory that is freed under an operation is reported", [] {
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const std::uint64_t before = fake_cuda_misuses();
    Address memory = 0;
    require(gpu.driver.allocate(&memory, 64));
    // Each of them starts late, by chance: of so many the last one is still to come.
    for (int i = 0; i < 200; ++i) gpu.fill(memory, 0, 64, stream);
    require(gpu.driver.free(memory));
    check_equal(fake_cuda_misuses(), before + 1);
});

}  // namespace
}  // namespace pycoll::test::fake_cuda_failures
