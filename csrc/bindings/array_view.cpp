#include "bindings/array_view.hpp"

#include <pybind11/numpy.h>

#include <bit>
#include <memory>
#include <optional>
#include <string>

#include "bindings/dlpack.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

[[noreturn]] void fail_type(const char* argument, const std::string& what) {
    throw py::type_error("'" + std::string(argument) + "' " + what);
}

[[noreturn]] void fail_value(const char* argument, const std::string& what) {
    throw py::value_error("'" + std::string(argument) + "' " + what);
}

[[noreturn]] void fail_contiguous(const char* argument) {
    fail_value(
        argument,
        "is not C-contiguous; pass numpy.ascontiguousarray(...) of it, or a contiguous part");
}

[[noreturn]] void fail_dtype(const char* argument, const std::string& dtype) {
    fail_type(argument, "has dtype " + dtype +
                            ", which is not supported; supported are bool, int8 to int64, uint8 "
                            "to uint64, float16, bfloat16, float32 and float64");
}

/// From a NumPy kind ('b', 'i', 'u', 'f') and a width.
std::optional<DType> dtype_of(char kind, std::size_t size) {
    const auto by_size = [size](DType one, DType two, DType four,
                                DType eight) -> std::optional<DType> {
        switch (size) {
            case 1:
                return one;
            case 2:
                return two;
            case 4:
                return four;
            case 8:
                return eight;
            default:
                return std::nullopt;
        }
    };
    switch (kind) {
        case 'b':
            return size == 1 ? std::optional(DType::boolean) : std::nullopt;
        case 'i':
            return by_size(DType::i8, DType::i16, DType::i32, DType::i64);
        case 'u':
            return by_size(DType::u8, DType::u16, DType::u32, DType::u64);
        case 'f':
            if (size == 1) return std::nullopt;
            return by_size(DType::u8, DType::f16, DType::f32, DType::f64);
        default:
            return std::nullopt;
    }
}

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
    return {const_cast<void*>(array.data()), *dtype, static_cast<std::uint64_t>(array.size()),
            array.writeable(), array};
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
    return ArrayView{shown.buf, *dtype, static_cast<std::uint64_t>(shown.len) / item,
                     shown.readonly == 0, owner};
}

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

py::capsule dlpack_capsule(py::handle object) {
    const auto export_method = object.attr("__dlpack__");
    try {
        return export_method(py::arg("max_version") = py::make_tuple(1, 0));
    } catch (const py::error_already_set& error) {
        // Exporters older than version 1.0 do not know the argument.
        if (!error.matches(PyExc_TypeError)) throw;
    }
    return export_method();
}

ArrayView view_dlpack(py::handle object, const char* argument) {
    const auto device = object.attr("__dlpack_device__")().cast<std::pair<int, int>>().first;
    if (device != dlpack::device_cpu && device != dlpack::device_cuda_host &&
        device != dlpack::device_rocm_host) {
        fail_type(argument, "lies on a device; this build of pycoll has no CUDA support");
    }
    py::object exported;
    try {
        exported = dlpack_capsule(object);
    } catch (const py::error_already_set& error) {
        fail_value(argument,
                   "cannot be exported by DLPack: " + std::string(py::str(error.value())));
    }
    const auto capsule = py::reinterpret_borrow<py::capsule>(exported);
    const dlpack::Tensor* tensor = nullptr;
    bool writable = true;
    if (std::string_view(capsule.name()) == "dltensor_versioned") {
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
    return {static_cast<std::byte*>(tensor->data) + tensor->byte_offset, *dtype,
            static_cast<std::uint64_t>(count), writable, exported};
}

}  // namespace

ArrayView view_array(py::handle object, const char* argument) {
    static_assert(std::endian::native == std::endian::little);
    if (py::isinstance<py::array>(object)) {
        return view_numpy(py::reinterpret_borrow<py::array>(object), argument);
    }
    if (py::hasattr(object, "__cuda_array_interface__")) {
        fail_type(argument, "lies on a GPU; this build of pycoll has no CUDA support");
    }
    const bool has_buffer = PyObject_CheckBuffer(object.ptr()) != 0;
    if (has_buffer) {
        if (const auto view = view_buffer(object, argument)) return *view;
    }
    if (py::hasattr(object, "__dlpack__")) {
        ArrayView view = view_dlpack(object, argument);
        // JAX's arrays are immutable. Those of bfloat16 are known to DLPack only, which JAX does
        // not tell so; those of other types have a buffer, and there it does.
        view.writable &= !has_buffer;
        return view;
    }
    const std::string type = py::str(py::type::handle_of(object).attr("__name__"));
    fail_type(argument, "is a " + type +
                            ", not an array; pass a NumPy array, or anything with the buffer "
                            "protocol or DLPack");
}

}  // namespace pycoll
