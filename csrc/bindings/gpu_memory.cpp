#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "bindings/dlpack.hpp"
#include "bindings/module.hpp"
#include "bindings/stream_argument.hpp"
#include "core/dtype.hpp"
#include "device/cuda/gpu.hpp"
#include "transport/cuda/heap.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

/// Registered memory of a GPU.
struct GpuMemory {
    int gpu;
    std::size_t bytes;
    /// Null for no bytes.
    std::shared_ptr<std::byte> memory;

    [[nodiscard]] std::uintptr_t pointer() const {
        return reinterpret_cast<std::uintptr_t>(memory.get());
    }
};

GpuMemory allocate_on_gpu(int gpu, std::size_t bytes) {
    if (bytes == 0) return {gpu, bytes, nullptr};
    return {gpu, bytes, GpuHeap::of(gpu).allocate(bytes)};
}

void fill_with_zeros(const GpuMemory& memory) {
    if (memory.bytes == 0) return;
    const cuda::Gpu& gpu = cuda::Gpu::at(memory.gpu);
    const cuda::Driver& driver = gpu.driver();
    const cuda::Gpu::Current current(gpu);
    // One of its own: the default one would wait for all that the program has under way.
    const cuda::Stream stream = gpu.create_stream();
    const cuda::Result filled = driver.fill(memory.pointer(), 0, memory.bytes, stream);
    const cuda::Result done = driver.synchronize_stream(stream);
    driver.destroy_stream(stream);
    driver.require(filled, "cuMemsetD8Async");
    driver.require(done, "cuStreamSynchronize");
}

/// Has a stream go on after what is on the legacy default stream by now.
void after_default_stream(int ordinal, std::intptr_t number) {
    const cuda::Gpu& gpu = cuda::Gpu::at(ordinal);
    const cuda::Driver& driver = gpu.driver();
    const cuda::Gpu::Current current(gpu);
    cuda::Event event = nullptr;
    driver.require(driver.create_event(&event, cuda::event_without_timing), "cuEventCreate");
    const cuda::Result recorded =
        driver.record_event(event, stream_numbered(legacy_default_stream));
    const cuda::Result ordered =
        recorded == cuda::success ? driver.wait_event(stream_numbered(number), event, 0) : recorded;
    driver.destroy_event(event);
    driver.require(recorded, "cuEventRecord");
    driver.require(ordered, "cuStreamWaitEvent");
}

/// A tensor that others hold, with all that it points to.
template <typename Managed>
struct Exported {
    Managed managed;
    std::shared_ptr<std::byte> memory;
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
};

dlpack::DataType dlpack_type(DType dtype) {
    const auto bits = static_cast<std::uint8_t>(8 * size_of(dtype));
    const std::string_view text = name(dtype);
    if (dtype == DType::boolean) return {dlpack::code_bool, bits, 1};
    if (dtype == DType::bf16) return {dlpack::code_bfloat, bits, 1};
    if (text.starts_with("float")) return {dlpack::code_float, bits, 1};
    return {text.starts_with("u") ? dlpack::code_uint : dlpack::code_int, bits, 1};
}

constexpr const char* name_of(const dlpack::ManagedTensor& /*managed*/) { return dlpack::name; }
constexpr const char* name_of(const dlpack::ManagedTensorVersioned& /*managed*/) {
    return dlpack::versioned_name;
}

template <typename Managed>
py::capsule export_tensor(const GpuMemory& memory, std::size_t offset,
                          std::vector<std::int64_t> shape, DType dtype) {
    auto made = std::make_unique<Exported<Managed>>();
    made->memory = memory.memory;
    made->shape = std::move(shape);
    made->strides.resize(made->shape.size());
    std::int64_t stride = 1;
    for (std::size_t i = made->shape.size(); i-- > 0;) {
        made->strides[i] = stride;
        stride *= made->shape[i];
    }
    Managed& managed = made->managed;
    managed.tensor = {.data = memory.memory ? memory.memory.get() + offset : nullptr,
                      .device = {dlpack::device_cuda, memory.gpu},
                      .ndim = static_cast<std::int32_t>(made->shape.size()),
                      .dtype = dlpack_type(dtype),
                      .shape = made->shape.data(),
                      .strides = made->strides.data(),
                      .byte_offset = 0};
    if constexpr (std::is_same_v<Managed, dlpack::ManagedTensorVersioned>) {
        managed.version = {1, 0};
    }
    managed.context = made.get();
    managed.deleter = [](Managed* released) {
        const std::unique_ptr<Exported<Managed>> last(
            static_cast<Exported<Managed>*>(released->context));
    };
    const py::capsule capsule(&managed, name_of(managed), [](PyObject* dropped) {
        // Whoever takes the tensor over gives the capsule another name.
        constexpr const char* unused = name_of(Managed{});
        if (PyCapsule_IsValid(dropped, unused) == 0) return;
        auto* const tensor = static_cast<Managed*>(PyCapsule_GetPointer(dropped, unused));
        tensor->deleter(tensor);
    });
    static_cast<void>(made.release());
    return capsule;
}

py::capsule dlpack_capsule(const GpuMemory& memory, std::size_t offset,
                           std::vector<std::int64_t> shape, std::string_view dtype,
                           bool versioned) {
    const auto type = parse_dtype(dtype);
    if (!type) throw py::value_error("unknown dtype '" + std::string(dtype) + "'");
    if (!versioned) {
        return export_tensor<dlpack::ManagedTensor>(memory, offset, std::move(shape), *type);
    }
    return export_tensor<dlpack::ManagedTensorVersioned>(memory, offset, std::move(shape), *type);
}

}  // namespace

void bind_gpu_memory(py::module_& m) {
    using Unlocked = py::call_guard<py::gil_scoped_release>;
    py::class_<GpuMemory>(m, "GpuMemory")
        .def_readonly("gpu", &GpuMemory::gpu)
        .def_readonly("nbytes", &GpuMemory::bytes)
        .def_property_readonly("pointer", &GpuMemory::pointer)
        .def("fill_with_zeros", &fill_with_zeros, Unlocked())
        .def("dlpack", &dlpack_capsule, py::arg("offset"), py::arg("shape"), py::arg("dtype"),
             py::arg("versioned"));
    m.def("allocate_on_gpu", &allocate_on_gpu, py::arg("gpu"), py::arg("bytes"), Unlocked());
    m.def("current_gpu", &cuda::current_gpu);
    m.def(
        "gpu_of", [](std::uintptr_t address) { return cuda::gpu_of(cuda::pointer_to(address)); },
        py::arg("address"));
    m.def("after_default_stream", &after_default_stream, py::arg("gpu"), py::arg("stream"),
          Unlocked());
}

}  // namespace pycoll
