#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>

namespace pycoll {

/// What call_function() takes, in this order: the first few by position, the others by name.
enum class Argument : std::size_t {
    collective,
    array,
    out,
    result,
    op,
    root,
    counts,
    recv_counts,
    algorithm,
    chunk_bytes,
    async_op,
    stream,
    new_out,
};

/// The arguments of one call: the caller's objects, and those that stand for what it left out.
class CallArguments {
public:
    static constexpr std::size_t positional = 4;
    static constexpr std::size_t all = 13;

    /// As Python's vectorcall passes them. Throws pybind11::type_error for others than there are.
    CallArguments(PyObject* const* given, std::size_t count, PyObject* names);

    [[nodiscard]] PyObject* operator[](Argument argument) const {
        return objects_[static_cast<std::size_t>(argument)];
    }
    /// Is it None?
    [[nodiscard]] bool omits(Argument argument) const { return (*this)[argument] == Py_None; }
    [[nodiscard]] bool is_true(Argument argument) const;

private:
    std::array<PyObject*, all> objects_;
};

}  // namespace pycoll
