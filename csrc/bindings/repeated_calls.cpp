#include "bindings/repeated_calls.hpp"

#include <pybind11/numpy.h>

#include <utility>

namespace py = pybind11;

namespace pycoll {

namespace {

bool is_like(const std::optional<PlainArray>& a, const std::optional<PlainArray>& b) {
    return a.has_value() == b.has_value() && (!a || a->is_like(*b));
}

/// Is a constant the same as another object?
bool is_same(PyObject* constant, PyObject* other) {
    if (constant == other) return true;
    if (Py_TYPE(constant) != Py_TYPE(other)) return false;
    if (PyUnicode_CheckExact(other)) return PyUnicode_Compare(constant, other) == 0;
    return PyLong_CheckExact(other) && PyObject_RichCompareBool(constant, other, Py_EQ) == 1;
}

}  // namespace

std::optional<PlainArray> PlainArray::of(PyObject* object) {
    if (Py_TYPE(object) != py::detail::npy_api::get().PyArray_Type_) return std::nullopt;
    const auto* const array = py::detail::array_proxy(object);
    if ((array->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_) == 0) return std::nullopt;
    std::uint64_t count = 1;
    for (int axis = 0; axis < array->nd; ++axis) {
        count *= static_cast<std::uint64_t>(array->dimensions[axis]);
    }
    return PlainArray{array->data, array->descr, count,
                      (array->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) != 0};
}

std::optional<RepeatedCalls::Arrays> RepeatedCalls::arrays_of(const CallArguments& arguments) {
    for (const auto argument : {Argument::counts, Argument::recv_counts, Argument::stream}) {
        if (!arguments.omits(argument)) return std::nullopt;
    }
    Arrays arrays;
    PyObject* const input = arguments[Argument::array];
    PyObject* const output = arguments[Argument::out];
    if (input != Py_None) {
        arrays.input = PlainArray::of(input);
        if (!arrays.input) return std::nullopt;
    }
    if (output == input) {
        arrays.output = arrays.input;
    } else if (output != Py_None) {
        arrays.output = PlainArray::of(output);
        if (!arrays.output) return std::nullopt;
    }
    return arrays;
}

std::size_t RepeatedCalls::place_of(const CallArguments& arguments, const Arrays& arrays) {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(arguments[Argument::collective]) >> 4;
    if (arrays.input) hash = hash * 31 + arrays.input->count;
    if (arrays.output) hash = hash * 31 + arrays.output->count;
    // The golden ratio spreads neighbouring values (Knuth, TAOCP 3, 6.4).
    return (hash * 0x9e3779b97f4a7c15U) >> 58;
}

std::optional<RepeatedCalls::Known> RepeatedCalls::find(const CallArguments& arguments,
                                                        const Arrays& arrays) const {
    const Call& call = calls_[place_of(arguments, arrays)];
    if (call.prepared == nullptr) return std::nullopt;
    for (std::size_t i = 0; i < fixed.size(); ++i) {
        if (!is_same(call.objects[i].ptr(), arguments[fixed[i]])) return std::nullopt;
    }
    if (!is_like(call.arrays.input, arrays.input) || !is_like(call.arrays.output, arrays.output)) {
        return std::nullopt;
    }
    Known known{call.prepared, arrays.input ? arrays.input->data : nullptr,
                arrays.output ? arrays.output->data : nullptr};
    if (!known.call->fits(known.input, known.output)) return std::nullopt;
    return known;
}

void RepeatedCalls::remember(const CallArguments& arguments, const Arrays& arrays,
                             std::shared_ptr<const PreparedCall> call) {
    const auto dtype = [](const std::optional<PlainArray>& array) {
        return py::reinterpret_borrow<py::object>(array ? array->dtype : nullptr);
    };
    Call made{.objects = {},
              .dtypes = {dtype(arrays.input), dtype(arrays.output)},
              .arrays = arrays,
              .prepared = std::move(call)};
    for (std::size_t i = 0; i < fixed.size(); ++i) {
        made.objects[i] = py::reinterpret_borrow<py::object>(arguments[fixed[i]]);
        // Others may say something else next time.
        const bool is_constant =
            PyUnicode_CheckExact(arguments[fixed[i]]) || PyLong_CheckExact(arguments[fixed[i]]);
        if (!is_constant) return;
    }
    // What was there goes last: that may run Python code, which may make calls.
    std::swap(calls_[place_of(arguments, arrays)], made);
}

}  // namespace pycoll
