#include <cstdint>
#include <string>
#include <string_view>

#include "bindings/array_protocols.hpp"
#include "bindings/stream_argument.hpp"
#include "device/cuda/gpu.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

std::optional<py::dict> interface_of(py::handle object) {
    const auto found = py::reinterpret_steal<py::object>(
        PyObject_GetAttrString(object.ptr(), "__cuda_array_interface__"));
    if (!found) PyErr_Clear();
    if (!found || !py::isinstance<py::dict>(found)) return std::nullopt;
    return py::reinterpret_borrow<py::dict>(found);
}

/// None when it is missing, too.
py::object entry(const py::dict& interface, const char* name) {
    return interface.contains(name) ? py::object(interface[name]) : py::object(py::none());
}

std::optional<DType> parse_typestr(py::handle object, std::string_view typestr) {
    if (typestr.size() != 3 || typestr[0] == '>') return std::nullopt;
    const auto size = static_cast<std::size_t>(typestr[2] - '0');
    if (typestr[1] != 'V') return dtype_of(typestr[1], size);
    // NumPy has no letter for bfloat16, only its libraries have names: "torch.bfloat16".
    if (size != 2 || !py::hasattr(object, "dtype")) return std::nullopt;
    const std::string name = py::str(object.attr("dtype"));
    return name.ends_with("bfloat16") ? std::optional(DType::bf16) : std::nullopt;
}

std::uint64_t count_of(const py::dict& interface, DType dtype, const char* argument) {
    const auto shape = interface["shape"].cast<py::tuple>();
    const py::object strides = entry(interface, "strides");
    std::int64_t count = 1;
    bool contiguous = true;
    for (std::size_t i = shape.size(); i-- > 0;) {
        const auto length = shape[i].cast<std::int64_t>();
        contiguous &= strides.is_none() || length == 1 ||
                      strides[py::int_(i)].cast<std::int64_t>() ==
                          count * static_cast<std::int64_t>(size_of(dtype));
        count *= length;
    }
    if (!contiguous && count > 0) fail_contiguous(argument);
    return static_cast<std::uint64_t>(count);
}

/// Where the call has to wait for what the array's library has under way; see the specification's
/// "Synchronization".
cuda::Stream stream_of(const py::dict& interface, std::int64_t version) {
    // Before version 3, libraries could not tell; what is on the default stream is all they mean.
    if (version < 3) return stream_numbered(legacy_default_stream);
    // None is to mean that there is nothing to wait for, and 0 nothing at all. But Numba says None
    // of arrays on its default stream, which is the legacy one, with or without work on it.
    const py::object stream = entry(interface, "stream");
    const auto number = stream.is_none() ? 0 : stream.cast<std::intptr_t>();
    return stream_numbered(number == 0 ? legacy_default_stream : number);
}

ArrayView view_entries(py::handle object, const py::dict& interface, const char* argument,
                       std::optional<cuda::Stream> stream) {
    if (!entry(interface, "mask").is_none()) {
        fail_type(argument, "is masked; pass its data and its mask as two arrays");
    }
    const std::string typestr = py::str(interface["typestr"]);
    const auto dtype = parse_typestr(object, typestr);
    if (!dtype) fail_dtype(argument, "'" + typestr + "'");
    const auto [address, read_only] = interface["data"].cast<std::pair<std::uintptr_t, bool>>();
    ArrayView view{.data = reinterpret_cast<void*>(address),
                   .dtype = *dtype,
                   .count = count_of(interface, *dtype, argument),
                   .writable = !read_only,
                   .owner = py::reinterpret_borrow<py::object>(object)};
    if (view.count > 0) {
        view.gpu = cuda::gpu_of(view.data);
        if (!view.gpu) {
            // Says why where there is no driver.
            static_cast<void>(require_gpu(0, argument));
            fail_type(argument,
                      "has a __cuda_array_interface__, but its memory is none of a GPU that CUDA "
                      "knows here; pass an array on a GPU, or one of NumPy");
        }
    } else if (has_dlpack(object)) {
        view.gpu = dlpack_gpu(object, argument);
    } else {
        // Nothing says on which GPU an array without memory is.
        view.gpu = ArrayView::any_gpu;
    }
    view.after = stream.value_or(stream_of(interface, interface["version"].cast<std::int64_t>()));
    return view;
}

}  // namespace

std::optional<ArrayView> view_cuda_array_interface(py::handle object, const char* argument,
                                                   std::optional<cuda::Stream> stream) {
    const auto interface = interface_of(object);
    if (!interface) return std::nullopt;
    try {
        // Before version 3, DLPack is how to learn what must come first.
        if (!stream && (*interface)["version"].cast<std::int64_t>() < 3 && has_dlpack(object)) {
            ArrayView view = view_dlpack(object, argument, stream);
            view.writable &= !(*interface)["data"].cast<std::pair<std::uintptr_t, bool>>().second;
            return view;
        }
        return view_entries(object, *interface, argument, stream);
    } catch (const py::cast_error&) {
        fail_type(argument, "has a __cuda_array_interface__ that is not as specified");
    } catch (const py::error_already_set& error) {
        if (!error.matches(PyExc_KeyError) && !error.matches(PyExc_IndexError)) throw;
        fail_type(argument, "has a __cuda_array_interface__ that lacks something: " +
                                std::string(py::str(error.value())));
    }
}

}  // namespace pycoll
