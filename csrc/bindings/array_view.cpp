#include "bindings/array_view.hpp"

#include <pybind11/numpy.h>

#include <bit>
#include <memory>
#include <optional>
#include <string>

#include "bindings/array_protocols.hpp"

namespace py = pybind11;

namespace pycoll {

namespace {

std::optional<DType> numpy_dtype(const py::dtype& dtype) {
    if (dtype.byteorder() == '>') return std::nullopt;
    // Of the types that other packages add, such as those of ml_dtypes, the kind says nothing.
    constexpr int first_added = 256;  // NPY_USERDEF
    if (dtype.num() >= first_added) {
        const bool is_bfloat16 = py::str(dtype.attr("name")).equal(py::str("bfloat16"));
        return is_bfloat16 && dtype.itemsize() == 2 ? std::optional(DType::bf16) : std::nullopt;
    }
    return dtype_of(dtype.kind(), static_cast<std::size_t>(dtype.itemsize()));
}

ArrayView view_numpy(const py::array& array, const char* argument) {
    const auto dtype = numpy_dtype(array.dtype());
    if (!dtype) fail_dtype(argument, py::str(array.dtype()));
    if ((array.flags() & py::array::c_style) == 0) fail_contiguous(argument);
    return {.data = const_cast<void*>(array.data()),
            .dtype = *dtype,
            .count = static_cast<std::uint64_t>(array.size()),
            .writable = array.writeable(),
            .owner = array};
}

std::optional<DType> buffer_dtype(std::string_view format, std::size_t size) {
    if (!format.empty() && (format[0] == '@' || format[0] == '=' || format[0] == '<')) {
        format.remove_prefix(1);
    }
    if (format.size() != 1) return std::nullopt;
    constexpr std::string_view signed_codes = "bhilqn";
    constexpr std::string_view unsigned_codes = "BHILQN";
    constexpr std::string_view float_codes = "efd";
    if (format[0] == '?') return dtype_of('b', size);
    if (signed_codes.find(format[0]) != std::string_view::npos) return dtype_of('i', size);
    if (unsigned_codes.find(format[0]) != std::string_view::npos) return dtype_of('u', size);
    if (float_codes.find(format[0]) != std::string_view::npos) return dtype_of('f', size);
    return std::nullopt;
}

/// None when the object has no such memory to show, though it has the protocol.
std::optional<ArrayView> view_buffer(py::handle object, const char* argument) {
    // Never copied: exporters may let its pointers point into itself.
    auto view = std::make_unique<Py_buffer>();
    if (PyObject_GetBuffer(object.ptr(), view.get(), PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) != 0) {
        PyErr_Clear();
        if (PyObject_GetBuffer(object.ptr(), view.get(), PyBUF_FULL_RO) != 0) {
            PyErr_Clear();
            return std::nullopt;
        }
        PyBuffer_Release(view.get());
        fail_contiguous(argument);
    }
    // The capsule gives the memory back with the last reference.
    const py::capsule owner(view.get(), [](void* pointer) {
        const std::unique_ptr<Py_buffer> released(static_cast<Py_buffer*>(pointer));
        PyBuffer_Release(released.get());
    });
    const Py_buffer& shown = *view.release();
    const std::string_view format = shown.format == nullptr ? "B" : shown.format;
    const auto item = static_cast<std::size_t>(shown.itemsize);
    const auto dtype = buffer_dtype(format, item);
    if (!dtype) fail_dtype(argument, "'" + std::string(format) + "'");
    return ArrayView{.data = shown.buf,
                     .dtype = *dtype,
                     .count = static_cast<std::uint64_t>(shown.len) / item,
                     .writable = shown.readonly == 0,
                     .owner = owner};
}

ArrayView view_any(py::handle object, const char* argument, std::optional<cuda::Stream> stream) {
    static_assert(std::endian::native == std::endian::little);
    if (py::isinstance<py::array>(object)) {
        return view_numpy(py::reinterpret_borrow<py::array>(object), argument);
    }
    if (const auto view = view_torch_tensor(object, argument, stream)) return *view;
    if (const auto view = view_cuda_array_interface(object, argument, stream)) return *view;
    const bool has_buffer = PyObject_CheckBuffer(object.ptr()) != 0;
    if (has_buffer) {
        if (const auto view = view_buffer(object, argument)) return *view;
    }
    if (has_dlpack(object)) {
        ArrayView view = view_dlpack(object, argument, stream);
        // JAX's arrays are immutable. Those of bfloat16 are known to DLPack only, which JAX does
        // not tell so; those of other types have a buffer, and there it does.
        view.writable &= !has_buffer;
        return view;
    }
    const std::string type = py::str(py::type::handle_of(object).attr("__name__"));
    fail_type(argument, "is a " + type +
                            ", not an array; pass a NumPy array, or anything with the buffer "
                            "protocol, DLPack or __cuda_array_interface__");
}

}  // namespace

ArrayView view_array(py::handle object, const char* argument, std::optional<cuda::Stream> stream) {
    ArrayView view = view_any(object, argument, stream);
    // GPUs do not read elements that lie across their borders.
    if (view.gpu && reinterpret_cast<std::uintptr_t>(view.data) % size_of(view.dtype) != 0) {
        fail_value(argument, "does not lie at a multiple of its elements' size; pass a copy of it");
    }
    return view;
}

ArrayView view_host_array(py::handle object, const char* argument) {
    ArrayView view = view_array(object, argument);
    if (view.gpu) fail_type(argument, "lies on a GPU; pass an array on the host");
    return view;
}

}  // namespace pycoll
