#include <array>
#include <atomic>

#include "fake_cuda.hpp"

namespace pycoll::test::fake_cuda_order {
namespace {

using cuda::Address;

/// What is on a stream waits until open() is called or the gate is gone.
class Gate {
public:
    Gate(FakeGpu& gpu, cuda::Stream stream)
        : word_(new(gpu.allocate_pinned(4)) std::atomic<std::uint32_t>(0)) {
        require(gpu.driver.wait_value(stream, address_of(word_), 1, cuda::wait_value_at_least));
    }
    ~Gate() { open(); }
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    void open() { word_->store(1); }

private:
    std::atomic<std::uint32_t>* word_;
};

const Test in_order("fake_cuda: what is on a stream happens in its order", [] {
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const Address memory = gpu.allocate(8);
    std::byte* const copies = gpu.allocate_pinned(8);
    for (unsigned char i = 0; i < 8; ++i) {
        gpu.fill(memory, i, 1, stream);
        gpu.copy(address_of(copies + i), memory, 1, stream);
    }
    gpu.synchronize(stream);
    for (unsigned char i = 0; i < 8; ++i) check_equal(std::to_integer<int>(copies[i]), int{i});
});

const Test events("fake_cuda: an event is reached when what is before it is done", [] {
    FakeGpu gpu;
    const auto first = gpu.stream();
    const auto second = gpu.stream();
    const auto event = gpu.event();
    check_equal(gpu.driver.query_event(event), cuda::success, "never recorded");
    Gate gate(gpu, first);
    gpu.record(event, first);
    check_equal(gpu.driver.query_event(event), cuda::not_ready, "recorded");
    const auto later = gpu.event();
    gpu.wait(second, event);
    gpu.record(later, second);
    check_equal(gpu.driver.query_event(later), cuda::not_ready, "on the stream that waits");
    gate.open();
    gpu.synchronize(second);
    check_equal(gpu.driver.query_event(event), cuda::success);
    check_equal(gpu.driver.query_event(later), cuda::success);
});

const Test first_record_counts("fake_cuda: a wait is for the record before it, not the next", [] {
    FakeGpu gpu;
    const auto first = gpu.stream();
    const auto second = gpu.stream();
    const auto event = gpu.event();
    gpu.record(event, first);
    gpu.wait(second, event);
    Gate gate(gpu, first);
    gpu.record(event, first);
    gpu.synchronize(second);
    check_equal(gpu.driver.query_event(event), cuda::not_ready);
});

const Test legacy("fake_cuda: blocking streams and the default stream wait for each other", [] {
    FakeGpu gpu;
    const auto blocking = gpu.stream(0);
    const auto free = gpu.stream();
    const auto on_default = gpu.event();
    const auto on_blocking = gpu.event();
    const auto on_free = gpu.event();
    {
        Gate gate(gpu, blocking);
        gpu.record(on_default, nullptr);
        gpu.record(on_blocking, blocking);
        gpu.record(on_free, free);
        gpu.synchronize(free);
        check_equal(gpu.driver.query_event(on_free), cuda::success);
        check_equal(gpu.driver.query_event(on_default), cuda::not_ready);
    }
    gpu.synchronize(nullptr);
    check_equal(gpu.driver.query_event(on_default), cuda::success);
    {
        Gate gate(gpu, nullptr);
        gpu.record(on_blocking, blocking);
        gpu.record(on_free, free);
        gpu.synchronize(free);
        check_equal(gpu.driver.query_event(on_blocking), cuda::not_ready);
    }
    gpu.synchronize(blocking);
    check_equal(gpu.driver.query_event(on_blocking), cuda::success);
});

const Test departed("fake_cuda: a stream that is destroyed still does what is on it", [] {
    FakeGpu gpu;
    const Address memory = gpu.allocate(1);
    cuda::Stream stream = nullptr;
    require(gpu.driver.create_stream(&stream, cuda::stream_non_blocking, 0));
    gpu.fill(memory, 9, 1, stream);
    require(gpu.driver.destroy_stream(stream));
    require(gpu.driver.synchronize());
    check_equal(int{seen<unsigned char>(memory)}, 9);
});

const Test pageable("fake_cuda: copies from memory that CUDA does not know take it at once", [] {
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const Address memory = gpu.allocate(4);
    int value = 7;
    {
        Gate gate(gpu, stream);
        gpu.copy(memory, address_of(&value), 4, stream);
        value = 8;
    }
    int result = 0;
    gpu.copy(address_of(&result), memory, 4, stream);
    check_equal(result, 7, "a copy to such memory is over when it returns");
});

const Test capture("fake_cuda: nothing can be put on a stream that is recorded", [] {
    constexpr cuda::Result capture_unsupported = 900;
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const auto event = gpu.event();
    int capturing = 0;
    check_equal(fake_cuda_capture(stream, 1), 1);
    require(gpu.driver.stream_is_capturing(stream, &capturing));
    check_equal(capturing, 1);
    check_equal(gpu.driver.record_event(event, stream), capture_unsupported);
    check_equal(gpu.driver.query_event(event), capture_unsupported);
    int mode = cuda::capture_mode_relaxed;
    require(gpu.driver.exchange_capture_mode(&mode));
    check_equal(gpu.driver.query_event(event), cuda::success, "by a thread that may");
    require(gpu.driver.exchange_capture_mode(&mode));
    fake_cuda_capture(stream, 0);
    gpu.record(event, stream);
});

}  // namespace
}  // namespace pycoll::test::fake_cuda_order
