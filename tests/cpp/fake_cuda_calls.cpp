#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "fake_cuda.hpp"

namespace pycoll::test::fake_cuda_calls {
namespace {

using cuda::Address;

constexpr cuda::Result invalid_value = 1;
constexpr cuda::Result invalid_device = 101;
constexpr cuda::Result invalid_context = 201;
constexpr cuda::Result invalid_handle = 400;

/// Can the host read the byte at an address? The system says so without a signal.
bool is_readable(const void* pointer) {
    std::array<int, 2> ends{};
    check(pipe(ends.data()) == 0, "no pipe");
    const bool readable = write(ends[1], pointer, 1) == 1;
    check(readable || errno == EFAULT, std::strerror(errno));
    close(ends[0]);
    close(ends[1]);
    return readable;
}

const Test untouchable("fake_cuda: the host cannot touch the memory of a GPU", [] {
    FakeGpu gpu;
    const auto stream = gpu.stream();
    const Address memory = gpu.allocate(5000);
    const auto* const pointer = reinterpret_cast<const void*>(memory);
    check(!is_readable(pointer), "a pointer to device memory can be read");
    check(is_readable(gpu.allocate_pinned(1)), "pinned memory cannot be read");
    gpu.fill(memory, 1, 4999, stream);
    gpu.fill(memory + 4999, 2, 1, stream);
    gpu.synchronize(stream);
    check_equal(int{seen<unsigned char>(memory + 4998)}, 1);
    check_equal(int{seen<unsigned char>(memory + 4999)}, 2);
    check(fake_cuda_alias(reinterpret_cast<const void*>(memory + 5000)) == nullptr, "beyond");
    check(fake_cuda_alias(&gpu) == nullptr, "of the host");
});

const Test out_of_range("fake_cuda: copies and fills beyond the end of memory are refused", [] {
    FakeGpu gpu;
    const auto& driver = gpu.driver;
    const auto stream = gpu.stream();
    const Address memory = gpu.allocate(100);
    std::array<char, 200> host{};
    check_equal(driver.copy(memory, address_of(host.data()), 101, stream), invalid_value);
    check_equal(driver.copy(address_of(host.data()), memory + 50, 51, stream), invalid_value);
    check_equal(driver.copy(address_of(host.data()), memory + 100, 1, stream), invalid_value);
    check_equal(driver.copy(memory, 0, 1, stream), invalid_value);
    check_equal(driver.fill(memory + 99, 0, 2, stream), invalid_value);
    check_equal(driver.fill(address_of(host.data()), 0, 1, stream), invalid_value);
    require(driver.copy(memory + 100, memory, 0, stream));
});

const Test freed_twice("fake_cuda: what is freed is gone", [] {
    FakeGpu gpu;
    const auto& driver = gpu.driver;
    const auto stream = gpu.stream();
    Address memory = 0;
    require(driver.allocate(&memory, 100));
    check_equal(driver.free(memory + 8), invalid_value, "within");
    require(driver.free(memory));
    check_equal(driver.free(memory), invalid_value, "freed twice");
    check_equal(driver.fill(memory, 0, 1, stream), invalid_value, "used when freed");
    Address other = 0;
    require(driver.allocate(&other, 100));
    check(other != memory, "freed addresses are used again at once");
    require(driver.free(other));
    require(driver.free(0));

    cuda::Event event = nullptr;
    require(driver.create_event(&event, 0));
    require(driver.destroy_event(event));
    check_equal(driver.destroy_event(event), invalid_handle);
    check_equal(driver.query_event(event), invalid_handle);
    check_equal(driver.wait_event(stream, event, 0), invalid_handle);
    cuda::Stream gone = nullptr;
    require(driver.create_stream(&gone, 0, 0));
    require(driver.destroy_stream(gone));
    check_equal(driver.fill(gpu.allocate(1), 0, 1, gone), invalid_handle);
    check_equal(driver.destroy_stream(gone), invalid_handle);
    check_equal(driver.destroy_stream(nullptr), invalid_handle, "the default stream");
});

const Test attributes("fake_cuda: what CUDA knows of pointers", [] {
    FakeGpu gpu(1);
    const auto ask = [&](int attribute, const void* pointer) {
        unsigned answer = 99;
        const auto result = gpu.driver.pointer_attribute(&answer, attribute, address_of(pointer));
        return result == cuda::success ? std::to_string(answer) : "?" + std::to_string(result);
    };
    const auto* const memory = reinterpret_cast<const char*>(gpu.allocate(10));
    const auto* const pinned = gpu.allocate_pinned(10);
    const auto own = std::make_unique<char>();
    check_equal(ask(cuda::pointer_memory_type, memory + 9), "2");
    check_equal(ask(cuda::pointer_device, memory + 9), "1");
    check_equal(ask(cuda::pointer_is_managed, memory), "0");
    check_equal(ask(cuda::pointer_memory_type, pinned), "1");
    check_equal(ask(cuda::pointer_memory_type, own.get()), "?1");
    check_equal(ask(cuda::pointer_memory_type, nullptr), "?1");
    check_equal(ask(cuda::pointer_memory_type, memory + 10), "?1", "beyond");
    Address same = 0;
    require(gpu.driver.host_address(&same, const_cast<std::byte*>(pinned), 0));
    check_equal(same, address_of(pinned));
    check_equal(gpu.driver.host_address(&same, own.get(), 0), invalid_value);
});

const Test contexts("fake_cuda: nothing works without a context, some things in only one", [] {
    const auto& driver = cuda::Driver::instance();
    Address memory = 0;
    check_equal(driver.allocate(&memory, 1), invalid_context);
    check_equal(driver.pop_context(nullptr), invalid_context);
    cuda::Context context = nullptr;
    check_equal(driver.push_context(context), invalid_context);
    check_equal(driver.retain_context(&context, 2), invalid_device);
    int device = 0;
    check_equal(driver.device(&device, -1), invalid_device);

    FakeGpu first(0);
    const auto event = first.event();
    const Address on_first = first.allocate(4);
    FakeGpu second(1);
    const auto stream = second.stream();
    check_equal(driver.record_event(event, stream), invalid_handle, "an event of another");
    require(driver.wait_event(stream, event, 0));
    require(driver.copy(second.allocate(4), on_first, 4, stream));
    second.synchronize(stream);
});

const Test kernels("fake_cuda: kernels are found by name, and launched in their context", [] {
    FakeGpu gpu;
    cuda::Module module = nullptr;
    cuda::Function function = nullptr;
    check_equal(gpu.driver.load_module(&module, nullptr), invalid_value);
    require(gpu.driver.load_module(&module, "image"));
    check_equal(gpu.driver.find_function(&function, module, "fold_sum_complex64"), cuda::not_found);
    check_equal(gpu.driver.find_function(&function, module, "sum_float32"), cuda::not_found);
    require(gpu.driver.find_function(&function, module, "fold_sum_float32"));
    void* none[] = {nullptr};
    check_equal(gpu.driver.launch(function, 0, 1, 1, 1, 1, 1, 0, nullptr, none, nullptr),
                invalid_value, "no blocks");
    require(gpu.driver.unload_module(module));
    check_equal(gpu.driver.launch(function, 1, 1, 1, 1, 1, 1, 0, nullptr, none, nullptr),
                invalid_handle, "of a module that is gone");

    const auto stream = gpu.stream();
    const Address values = gpu.allocate(12);
    const std::array<float, 3> source{1, 2, 3};
    gpu.copy(values, address_of(source.data()), sizeof source, stream);
    require(gpu.sum(values, {values, values, values}, 3, stream));
    gpu.synchronize(stream);
    check_equal(seen<float>(values + 8), 9.0F);
    FakeGpu other(1);
    check_equal(gpu.sum(values, {values}, 3, stream), invalid_handle, "in another context");
});

const Test handles("fake_cuda: memory is shared by handles of whole allocations", [] {
    FakeGpu gpu;
    const Address memory = gpu.allocate(100);
    cuda::IpcHandle handle{};
    cuda::IpcHandle within{};
    Address opened = 0;
    require(gpu.driver.ipc_handle(&handle, memory));
    require(gpu.driver.ipc_handle(&within, memory + 50));
    check(handle.bytes == within.bytes, "one allocation, two handles");
    check_equal(gpu.driver.open_ipc(&opened, handle, cuda::ipc_lazy_peer_access), invalid_context,
                "in the process that it is from");
    check_equal(gpu.driver.open_ipc(&opened, {}, cuda::ipc_lazy_peer_access), invalid_value);
    check_equal(gpu.driver.ipc_handle(&handle, address_of(gpu.allocate_pinned(1))), invalid_value);
    check_equal(gpu.driver.close_ipc(memory), invalid_value);
});

}  // namespace
}  // namespace pycoll::test::fake_cuda_calls
