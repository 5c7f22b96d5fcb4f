#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

#include "device/cuda/gpu.hpp"

namespace pycoll::test {

/// A stream as an application has it, not of the highest priority, that a test can hold up.
class HeldStream {
public:
    explicit HeldStream(cuda::Gpu& gpu) : gpu_(gpu) {
        const cuda::Gpu::Current current(gpu_);
        gpu_.driver().require(gpu_.driver().create_stream(&stream, cuda::stream_non_blocking, 0),
                              "cuStreamCreateWithPriority");
        gpu_.driver().require(gpu_.driver().create_event(&mark_, cuda::event_without_timing),
                              "cuEventCreate");
        word_memory_ = gpu_.pinned().allocate(sizeof(std::atomic<std::uint32_t>));
        word_ = new (word_memory_) std::atomic<std::uint32_t>(0);
    }
    ~HeldStream() {
        let_go();
        {
            const cuda::Gpu::Current current(gpu_);
            gpu_.driver().synchronize_stream(stream);
            gpu_.driver().destroy_stream(stream);
            gpu_.driver().destroy_event(mark_);
        }
        gpu_.pinned().free(word_memory_);
    }
    HeldStream(const HeldStream&) = delete;
    HeldStream& operator=(const HeldStream&) = delete;

    /// What is put on it from now on runs after let_go() only.
    void hold() {
        const cuda::Gpu::Current current(gpu_);
        cuda::Address address = 0;
        gpu_.driver().require(gpu_.driver().host_address(&address, word_memory_, 0), "address");
        gpu_.driver().require(
            gpu_.driver().wait_value(stream, address, 1, cuda::wait_value_at_least), "wait");
    }
    void let_go() { word_->store(1, std::memory_order_release); }

    void fill(std::byte* memory, unsigned char value, std::size_t bytes) {
        const cuda::Gpu::Current current(gpu_);
        gpu_.driver().require(gpu_.driver().fill(cuda::address_of(memory), value, bytes, stream),
                              "cuMemsetD8Async");
    }
    void copy(std::byte* dst, const std::byte* src, std::size_t bytes) {
        const cuda::Gpu::Current current(gpu_);
        gpu_.driver().require(
            gpu_.driver().copy(cuda::address_of(dst), cuda::address_of(src), bytes, stream),
            "cuMemcpyAsync");
    }
    void synchronize() {
        const cuda::Gpu::Current current(gpu_);
        gpu_.driver().require(gpu_.driver().synchronize_stream(stream), "cuStreamSynchronize");
    }
    /// has_reached_mark() asks whether all is over that is on it by now.
    void mark() {
        const cuda::Gpu::Current current(gpu_);
        gpu_.driver().require(gpu_.driver().record_event(mark_, stream), "cuEventRecord");
    }
    [[nodiscard]] bool has_reached_mark() const {
        const cuda::Gpu::Current current(gpu_);
        const cuda::Result result = gpu_.driver().query_event(mark_);
        if (result != cuda::not_ready) gpu_.driver().require(result, "cuEventQuery");
        return result == cuda::success;
    }

    cuda::Stream stream = nullptr;

private:
    cuda::Gpu& gpu_;
    cuda::Event mark_ = nullptr;
    std::byte* word_memory_ = nullptr;
    std::atomic<std::uint32_t>* word_ = nullptr;
};

}  // namespace pycoll::test
