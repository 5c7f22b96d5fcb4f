#include "fake_cuda.hpp"

namespace pycoll::test {

using cuda::Address;

FakeGpu::FakeGpu(int ordinal) : ordinal_(ordinal) {
    cuda::Context context = nullptr;
    require(driver.retain_context(&context, ordinal));
    require(driver.push_context(context));
}

FakeGpu::~FakeGpu() {
    for (const cuda::Stream stream : streams_) driver.destroy_stream(stream);
    for (const cuda::Event event : events_) driver.destroy_event(event);
    for (const Address address : allocations_) driver.free(address);
    for (void* const pinned : pinned_) driver.free_host(pinned);
    if (module_ != nullptr) driver.unload_module(module_);
    driver.pop_context(nullptr);
    driver.release_context(ordinal_);
}

Address FakeGpu::allocate(std::size_t bytes) {
    Address address = 0;
    require(driver.allocate(&address, bytes));
    return allocations_.emplace_back(address);
}

std::byte* FakeGpu::allocate_pinned(std::size_t bytes) {
    void* memory = nullptr;
    require(driver.allocate_host(&memory, bytes,
                                 cuda::host_memory_portable | cuda::host_memory_mapped));
    return static_cast<std::byte*>(pinned_.emplace_back(memory));
}

cuda::Stream FakeGpu::stream(unsigned flags) {
    cuda::Stream stream = nullptr;
    require(driver.create_stream(&stream, flags, 0));
    return streams_.emplace_back(stream);
}

cuda::Event FakeGpu::event() {
    cuda::Event event = nullptr;
    require(driver.create_event(&event, cuda::event_without_timing));
    return events_.emplace_back(event);
}

void FakeGpu::copy(Address dst, Address src, std::size_t bytes, cuda::Stream stream) {
    require(driver.copy(dst, src, bytes, stream));
}

void FakeGpu::fill(Address dst, unsigned char value, std::size_t bytes, cuda::Stream stream) {
    require(driver.fill(dst, value, bytes, stream));
}

void FakeGpu::record(cuda::Event event, cuda::Stream stream) {
    require(driver.record_event(event, stream));
}

void FakeGpu::wait(cuda::Stream stream, cuda::Event event) {
    require(driver.wait_event(stream, event, 0));
}

void FakeGpu::synchronize(cuda::Stream stream) { require(driver.synchronize_stream(stream)); }

cuda::Result FakeGpu::sum(Address dst, const std::vector<Address>& srcs, std::uint64_t count,
                          cuda::Stream stream) {
    if (module_ == nullptr) {
        require(driver.load_module(&module_, "any image"));
        require(driver.find_function(&sum_, module_, "fold_sum_float32"));
    }
    cuda::FoldArguments arguments{};
    arguments.dst = reinterpret_cast<void*>(dst);
    arguments.count = count;
    arguments.divisor = 1;
    arguments.sources = static_cast<std::uint32_t>(srcs.size());
    for (std::size_t i = 0; i < srcs.size(); ++i) {
        arguments.srcs[i] = reinterpret_cast<const void*>(srcs[i]);
    }
    void* parameters[] = {&arguments};
    return driver.launch(sum_, 2, 1, 1, 64, 1, 1, 0, stream, parameters, nullptr);
}

}  // namespace pycoll::test
