#include "bindings/repeated_calls.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <utility>

namespace py = pybind11;

namespace pycoll {

namespace {

bool is_constant(PyObject* object) {
    return object == Py_None || PyUnicode_CheckExact(object) || PyLong_CheckExact(object) ||
           PyBool_Check(object);
}

/// Is a constant the same as another object?
bool is_same(PyObject* constant, PyObject* other) {
    if (constant == other) return true;
    if (Py_TYPE(constant) != Py_TYPE(other)) return false;
    if (PyUnicode_CheckExact(other)) return PyUnicode_Compare(constant, other) == 0;
    return PyLong_CheckExact(other) && PyObject_RichCompareBool(constant, other, Py_EQ) == 1;
}

std::size_t name_count(PyObject* names) {
    return names == nullptr ? 0 : static_cast<std::size_t>(PyTuple_GET_SIZE(names));
}

bool are_same_names(PyObject* some, PyObject* others) {
    if (some == others) return true;
    // Every line of a program has names of its own.
    const std::size_t count = name_count(some);
    if (count != name_count(others)) return false;
    for (std::size_t i = 0; i < count; ++i) {
        const auto at = static_cast<Py_ssize_t>(i);
        if (!is_same(PyTuple_GET_ITEM(some, at), PyTuple_GET_ITEM(others, at))) return false;
    }
    return true;
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

GivenArguments::GivenArguments(PyObject* function, PyObject* const* objects, std::size_t positional,
                               PyObject* names)
    : function_(function), names_(names), positional_(positional) {
    const std::size_t count = positional + name_count(names);
    if (count > most) return;
    for (; count_ < count; ++count_) {
        PyObject* const object = objects[count_];
        Argument& argument = arguments_[count_];
        argument.object = object;
        argument.first = count_;
        argument.is_array = false;
        if (is_constant(object)) continue;
        argument.is_array = true;
        const auto earlier = all();
        const auto same = std::ranges::find(earlier, object, &Argument::object);
        if (same != earlier.end()) {
            argument.first = same->first;
            argument.array = same->array;
            continue;
        }
        const auto array = PlainArray::of(object);
        if (!array) return;
        argument.array = *array;
    }
    are_plain_ = true;
}

std::size_t GivenArguments::hash() const {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(function_) >> 4;
    for (const Argument& argument : all()) {
        // Mostly, equal constants are one object.
        hash = hash * 31 + (argument.is_array
                                ? argument.array.count
                                : reinterpret_cast<std::uintptr_t>(argument.object) >> 4);
    }
    // The golden ratio spreads neighbouring values (Knuth, TAOCP 3, 6.4).
    return (hash * 0x9e3779b97f4a7c15U) >> 58;
}

bool RepeatedCalls::is_like(const Call& call, const GivenArguments& given) {
    if (call.function.ptr() != given.function_ || call.positional != given.positional_ ||
        !are_same_names(call.names.ptr(), given.names_)) {
        return false;
    }
    return std::ranges::equal(
        call.arguments, given.all(), [](const Argument& known, const auto& argument) {
            if (known.is_array != argument.is_array || known.first != argument.first) return false;
            return known.is_array ? known.array.is_like(argument.array)
                                  : is_same(known.object.ptr(), argument.object);
        });
}

std::optional<RepeatedCalls::Known> RepeatedCalls::find(const GivenArguments& given) const {
    const Call& call = calls_[given.hash()];
    if (call.prepared == nullptr || !is_like(call, given)) return std::nullopt;
    const auto object = [&](Which which) {
        return which ? given.arguments_[*which].object : Py_None;
    };
    const auto data = [&](Which which) {
        return which ? given.arguments_[*which].array.data : nullptr;
    };
    Known known{.call = call.prepared,
                .input = object(call.input),
                .output = object(call.output),
                .result = object(call.result),
                .from = data(call.input),
                .to = data(call.output)};
    if (!known.call->fits(known.from, known.to)) return std::nullopt;
    return known;
}

void RepeatedCalls::remember(const GivenArguments& given, const Known& done) {
    Call call;
    call.function = py::reinterpret_borrow<py::object>(given.function_);
    call.positional = given.positional_;
    call.names = py::reinterpret_borrow<py::object>(given.names_);
    call.prepared = done.call;
    for (const GivenArguments::Argument& argument : given.all()) {
        PyObject* const kept = argument.is_array ? argument.array.dtype : argument.object;
        call.arguments.push_back({py::reinterpret_borrow<py::object>(kept), argument.first,
                                  argument.is_array, argument.array});
    }
    bool all_given = true;
    const auto which = [&](PyObject* object, bool is_array) -> Which {
        if (object == Py_None) return std::nullopt;
        const auto all = given.all();
        const auto found = std::ranges::find(all, object, &GivenArguments::Argument::object);
        if (found == all.end() || found->is_array != is_array) {
            all_given = false;
            return std::nullopt;
        }
        return static_cast<std::size_t>(found - all.begin());
    };
    call.input = which(done.input, true);
    call.output = which(done.output, true);
    call.result = which(done.result, true);
    if (!all_given) return;
    // What was there goes last: that may run Python code, which may make calls.
    std::swap(calls_[given.hash()], call);
}

}  // namespace pycoll
