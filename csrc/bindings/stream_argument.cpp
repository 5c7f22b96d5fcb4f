#include "bindings/stream_argument.hpp"

#include <array>
#include <string>

#include "device/cuda/gpu.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

/// The attribute by which each library gives a stream's pointer away.
constexpr std::array<const char*, 3> pointer_attributes = {
    "ptr",          // CuPy
    "cuda_stream",  // PyTorch
    "handle",       // Numba
};

std::string said(py::handle value) {
    return "'stream' is a " + std::string(py::str(py::type::handle_of(value).attr("__name__")));
}

std::optional<std::intptr_t> as_number(py::handle value) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!index) {
        PyErr_Clear();
        return std::nullopt;
    }
    const auto number = static_cast<std::intptr_t>(PyLong_AsSsize_t(index.ptr()));
    if (PyErr_Occurred() != nullptr || number < 0) {
        PyErr_Clear();
        throw py::value_error("'stream' is " + std::string(py::str(value)) +
                              "; pass the pointer of a CUDA stream, or 1 or 2 for the legacy or "
                              "the per-thread default stream");
    }
    return number;
}

/// Of one of the pointer attributes: a number, or what ctypes makes of a pointer, where None is 0.
std::optional<std::intptr_t> as_pointer(py::handle held) {
    if (const auto number = as_number(held)) return number;
    if (!py::hasattr(held, "value")) return std::nullopt;
    const py::object value = held.attr("value");
    return value.is_none() ? 0 : as_number(value);
}

std::optional<std::intptr_t> number_of(py::handle stream) {
    if (const auto number = as_number(stream)) return number;
    if (py::hasattr(stream, "__cuda_stream__")) {
        // A version and a pointer. The first libraries to have it made it a property.
        py::object protocol = stream.attr("__cuda_stream__");
        if (PyCallable_Check(protocol.ptr()) != 0) protocol = protocol();
        if (!py::isinstance<py::sequence>(protocol) || py::len(protocol) != 2) return std::nullopt;
        return as_number(protocol[py::int_(1)]);
    }
    for (const char* const attribute : pointer_attributes) {
        if (!py::hasattr(stream, attribute)) continue;
        if (const auto number = as_pointer(stream.attr(attribute))) return number;
    }
    return std::nullopt;
}

}  // namespace

std::optional<cuda::Stream> stream_argument(py::handle value) {
    if (value.is_none()) return std::nullopt;
    const auto number = number_of(value);
    if (!number) {
        throw py::type_error(said(value) +
                             "; pass a CUDA stream of CuPy, PyTorch, Numba or anything with "
                             "__cuda_stream__, or its pointer as an integer");
    }
    // Libraries say 0 for the legacy default stream, for which CUDA's own number is 1.
    return stream_numbered(*number == 0 ? legacy_default_stream : *number);
}

void require_not_captured(int gpu, cuda::Stream stream, const std::string& who) {
    if (!cuda::is_captured(cuda::Gpu::at(gpu), stream)) return;
    throw cuda::CudaError(
        who +
            " is being captured into a CUDA graph (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED); "
            "the host takes part in collectives, which no graph can record: call them outside",
        cuda::stream_capture_unsupported);
}

}  // namespace pycoll
