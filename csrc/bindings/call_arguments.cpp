#include "bindings/call_arguments.hpp"

#include <algorithm>
#include <string>

namespace py = pybind11;

namespace pycoll {
namespace {

struct Named {
    PyObject* name;
    PyObject* otherwise;
};

/// Those that are passed by name, and what stands for one that is left out. Names that programs
/// write are the very objects that Python makes of ours.
const std::array<Named, CallArguments::all - CallArguments::positional>& named() {
    // Never destroyed: the interpreter may be gone by then.
    static const auto& all =
        *new std::array<Named, CallArguments::all - CallArguments::positional>{{
            {PyUnicode_InternFromString("op"), PyUnicode_InternFromString("sum")},
            {PyUnicode_InternFromString("root"), PyLong_FromLong(0)},
            {PyUnicode_InternFromString("counts"), Py_None},
            {PyUnicode_InternFromString("recv_counts"), Py_None},
            {PyUnicode_InternFromString("algorithm"), PyUnicode_InternFromString("auto")},
            {PyUnicode_InternFromString("chunk_bytes"), PyLong_FromLong(0)},
            {PyUnicode_InternFromString("async_op"), Py_False},
            {PyUnicode_InternFromString("stream"), Py_None},
            {PyUnicode_InternFromString("new_out"), Py_False},
        }};
    return all;
}

}  // namespace

CallArguments::CallArguments(PyObject* const* given, std::size_t count, PyObject* names) {
    if (count != positional) {
        throw py::type_error("a call takes " + std::to_string(positional) +
                             " arguments by position");
    }
    const auto& known = named();
    std::copy_n(given, positional, objects_.begin());
    std::ranges::transform(known, objects_.begin() + positional, &Named::otherwise);
    const Py_ssize_t more = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    auto found = known.begin();
    for (Py_ssize_t i = 0; i < more; ++i) {
        PyObject* const name = PyTuple_GET_ITEM(names, i);
        // Mostly they come in this order.
        found = std::find_if(found, known.end(),
                             [name](const Named& argument) { return argument.name == name; });
        if (found == known.end()) {
            found = std::ranges::find_if(known, [name](const Named& argument) {
                return PyUnicode_Compare(argument.name, name) == 0;
            });
        }
        if (found == known.end()) {
            throw py::type_error("a call takes no argument '" + std::string(py::str(name)) + "'");
        }
        objects_[positional + static_cast<std::size_t>(found - known.begin())] =
            given[positional + static_cast<std::size_t>(i)];
    }
}

bool CallArguments::is_true(Argument argument) const {
    PyObject* const object = (*this)[argument];
    if (object == Py_False || object == Py_True) return object == Py_True;
    const int truth = PyObject_IsTrue(object);
    if (truth < 0) throw py::error_already_set();
    return truth == 1;
}

}  // namespace pycoll
