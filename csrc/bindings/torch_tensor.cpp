#include <cstdint>
#include <string>
#include <string_view>

#include "bindings/array_protocols.hpp"
#include "bindings/stream_argument.hpp"
#include "device/cuda/gpu.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

/// PyTorch, if the program has it loaded: else no array is a tensor.
std::optional<py::object> loaded_torch() {
    PyObject* const module = PyDict_GetItemString(PyImport_GetModuleDict(), "torch");
    // A module that is being loaded may lack the class.
    if (module == nullptr || PyObject_HasAttrString(module, "Tensor") == 0) return std::nullopt;
    return py::reinterpret_borrow<py::object>(module);
}

bool is_true(const py::object& value) { return value.cast<bool>(); }

DType dtype_of_tensor(py::handle tensor, const char* argument) {
    const std::string name = py::str(tensor.attr("dtype"));
    constexpr std::string_view library = "torch.";
    const auto dtype = name.starts_with(library)
                           ? parse_dtype(std::string_view(name).substr(library.size()))
                           : std::nullopt;
    if (!dtype) fail_dtype(argument, name);
    return *dtype;
}

ArrayView view_tensor(const py::object& torch, py::handle tensor, const char* argument,
                      std::optional<cuda::Stream> stream) {
    if (is_true(tensor.attr("requires_grad"))) {
        fail_value(argument, "requires gradients, which no collective tracks; use tensor.detach()");
    }
    if (!tensor.attr("layout").is(torch.attr("strided"))) {
        fail_type(argument, "has layout " + std::string(py::str(tensor.attr("layout"))) +
                                "; pass a dense tensor (tensor.to_dense())");
    }
    const DType dtype = dtype_of_tensor(tensor, argument);
    if (!is_true(tensor.attr("is_contiguous")())) fail_contiguous(argument);
    // What is in its memory is not what is in the tensor.
    if (is_true(tensor.attr("is_neg")())) {
        fail_value(argument, "has its negative bit set; pass tensor.resolve_neg()");
    }
    const py::object device = tensor.attr("device");
    ArrayView view{.data = cuda::pointer_to(tensor.attr("data_ptr")().cast<cuda::Address>()),
                   .dtype = dtype,
                   .count = tensor.attr("numel")().cast<std::uint64_t>(),
                   .writable = true,
                   .owner = py::reinterpret_borrow<py::object>(tensor),
                   .gpu = device.attr("index").cast<int>()};
    static_cast<void>(require_gpu(*view.gpu, argument));
    if (!stream) {
        const py::object current = torch.attr("cuda").attr("current_stream")(device);
        const auto number = current.attr("cuda_stream").cast<std::intptr_t>();
        stream = stream_numbered(number == 0 ? legacy_default_stream : number);
    }
    view.after = stream;
    return view;
}

}  // namespace

std::optional<ArrayView> view_torch_tensor(py::handle object, const char* argument,
                                           std::optional<cuda::Stream> stream) {
    const auto torch = loaded_torch();
    if (!torch || !py::isinstance(object, torch->attr("Tensor"))) return std::nullopt;
    try {
        if (!is_true(object.attr("is_cuda"))) return std::nullopt;
        return view_tensor(*torch, object, argument, stream);
    } catch (const py::cast_error&) {
        fail_type(argument, "is a tensor whose attributes are none of PyTorch's");
    } catch (const py::error_already_set& error) {
        fail_value(argument,
                   "does not give its memory away: " + std::string(py::str(error.value())));
    }
}

}  // namespace pycoll
