#include "bindings/arguments.hpp"

#include <algorithm>
#include <limits>

namespace py = pybind11;

namespace pycoll {
namespace {

/// "'root' is 1.5" or, of what has a long text, "'root' is a list".
std::string said(const char* argument, py::handle value) {
    constexpr std::size_t longest = 60;
    std::string text = py::repr(value);
    if (text.size() > longest) {
        text = "a " + std::string(py::str(py::type::handle_of(value).attr("__name__")));
    }
    return "'" + std::string(argument) + "' is " + text;
}

}  // namespace

std::int64_t integer_argument(py::handle value, const char* argument, std::int64_t least,
                              std::int64_t most) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!index) {
        PyErr_Clear();
        throw py::type_error(said(argument, value) + "; pass an integer");
    }
    int overflow = 0;
    const std::int64_t integer = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0 || integer < least || integer > most) {
        throw py::value_error(said(argument, value) + "; pass one from " + std::to_string(least) +
                              (most == std::numeric_limits<std::int64_t>::max()
                                   ? ""
                                   : " to " + std::to_string(most)));
    }
    return integer;
}

std::string text_argument(py::handle value, const char* argument) {
    if (!py::isinstance<py::str>(value)) {
        throw py::type_error(said(argument, value) + "; pass a string");
    }
    return py::cast<std::string>(value);
}

std::optional<std::chrono::nanoseconds> timeout_argument(py::handle value) {
    if (value.is_none()) return std::nullopt;
    const double seconds = PyFloat_AsDouble(value.ptr());
    constexpr const char* wanted = "; pass a number of seconds from 0, or None";
    if (PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        throw py::type_error(said("timeout", value) + wanted);
    }
    if (!(seconds >= 0)) throw py::value_error(said("timeout", value) + wanted);
    return nanoseconds(seconds);
}

std::chrono::nanoseconds nanoseconds(double seconds) {
    // 100 years stand for any longer wait: beyond that, nanoseconds overflow.
    constexpr double longest = 100 * 365 * 86400.0;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::duration<double>(std::min(seconds, longest)));
}

}  // namespace pycoll
