#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/array_protocols.hpp"
#include "bindings/dlpack.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

std::optional<DType> dlpack_dtype(const dlpack::DataType& dtype) {
    if (dtype.lanes != 1) return std::nullopt;
    const std::size_t size = dtype.bits / 8U;
    switch (dtype.code) {
        case dlpack::code_int:
            return dtype_of('i', size);
        case dlpack::code_uint:
            return dtype_of('u', size);
        case dlpack::code_float:
            return dtype_of('f', size);
        case dlpack::code_bool:
            return dtype_of('b', size);
        case dlpack::code_bfloat:
            return size == 2 ? std::optional(DType::bf16) : std::nullopt;
        default:
            return std::nullopt;
    }
}

py::object exported(py::handle object, const char* argument, py::dict options) {
    try {
        const auto export_method = object.attr("__dlpack__");
        options["max_version"] = py::make_tuple(1, 0);
        try {
            return export_method(**options);
        } catch (const py::error_already_set& error) {
            // Exporters older than version 1.0 do not know the argument.
            if (!error.matches(PyExc_TypeError)) throw;
        }
        options.attr("pop")("max_version");
        return export_method(**options);
    } catch (const py::error_already_set& error) {
        fail_value(argument,
                   "cannot be exported by DLPack: " + std::string(py::str(error.value())));
    }
}

ArrayView view_capsule(const py::object& exported, const char* argument) {
    const auto capsule = py::reinterpret_borrow<py::capsule>(exported);
    const dlpack::Tensor* tensor = nullptr;
    bool writable = true;
    if (std::string_view(capsule.name()) == dlpack::versioned_name) {
        const auto* managed = capsule.get_pointer<dlpack::ManagedTensorVersioned>();
        tensor = &managed->tensor;
        writable = (managed->flags & dlpack::flag_read_only) == 0;
    } else {
        tensor = &capsule.get_pointer<dlpack::ManagedTensor>()->tensor;
    }
    const auto dtype = dlpack_dtype(tensor->dtype);
    if (!dtype) {
        fail_dtype(argument, "DLPack type code " + std::to_string(tensor->dtype.code) + " with " +
                                 std::to_string(tensor->dtype.bits) + " bits");
    }
    std::int64_t count = 1;
    bool contiguous = true;
    for (std::int32_t i = tensor->ndim - 1; i >= 0; --i) {
        contiguous &=
            tensor->strides == nullptr || tensor->shape[i] == 1 || tensor->strides[i] == count;
        count *= tensor->shape[i];
    }
    if (!contiguous && count > 0) fail_contiguous(argument);
    // The capsule is not consumed: its own destructor gives the tensor back.
    return {.data = static_cast<std::byte*>(tensor->data) + tensor->byte_offset,
            .dtype = *dtype,
            .count = static_cast<std::uint64_t>(count),
            .writable = writable,
            .owner = exported};
}

std::pair<std::int32_t, int> device_of(py::handle object, const char* argument) {
    try {
        return object.attr("__dlpack_device__")().cast<std::pair<std::int32_t, int>>();
    } catch (const py::cast_error&) {
        fail_type(argument, "has a __dlpack_device__ that is not as specified");
    } catch (const py::error_already_set& error) {
        // As JAX does for an array over several GPUs.
        fail_value(argument, "does not say where it lies: " + std::string(py::str(error.value())));
    }
}

}  // namespace

bool has_dlpack(py::handle object) { return py::hasattr(object, "__dlpack__"); }

std::optional<int> dlpack_gpu(py::handle object, const char* argument) {
    const auto [type, ordinal] = device_of(object, argument);
    switch (type) {
        case dlpack::device_cpu:
        case dlpack::device_cuda_host:
        case dlpack::device_rocm_host:
            return std::nullopt;
        case dlpack::device_cuda:
        case dlpack::device_cuda_managed:
            return ordinal;
        default:
            fail_type(argument, "lies on a device of DLPack's type " + std::to_string(type) +
                                    "; pycoll takes arrays of the host and of CUDA GPUs");
    }
}

ArrayView view_dlpack(py::handle object, const char* argument, std::optional<cuda::Stream> stream) {
    const auto gpu = dlpack_gpu(object, argument);
    py::dict options;
    if (!gpu) return view_capsule(exported(object, argument, options), argument);
    // The exporter makes this stream come after its own current one. Where the caller has named
    // another stream, that is in vain: to ask for nothing is -1, which JAX takes for a pointer.
    const cuda::Stream arrivals = require_gpu(*gpu, argument).arrivals();
    options["stream"] = reinterpret_cast<std::intptr_t>(arrivals);
    ArrayView view = view_capsule(exported(object, argument, options), argument);
    view.gpu = gpu;
    view.after = stream.value_or(arrivals);
    return view;
}

}  // namespace pycoll
