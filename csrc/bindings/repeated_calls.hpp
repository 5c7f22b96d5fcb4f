#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/prepared_call.hpp"

namespace pycoll {

/// The memory of a NumPy array as such: of no subclass, in C order.
struct PlainArray {
    void* data;
    /// NumPy has one for each data type, and arrays of it refer to that.
    PyObject* dtype;
    std::uint64_t count;
    bool writable;

    /// Nothing for any other object.
    [[nodiscard]] static std::optional<PlainArray> of(PyObject* object);
    [[nodiscard]] bool is_like(const PlainArray& other) const {
        return dtype == other.dtype && count == other.count && writable == other.writable;
    }
};

/// What a function is called with. To be looked at before the call is made: threads may change
/// arrays meanwhile. Refers to the caller's objects.
class GivenArguments {
public:
    /// As Python's vectorcall passes them to `function`; null for a function that has all to
    /// itself.
    GivenArguments(PyObject* function, PyObject* const* objects, std::size_t positional,
                   PyObject* names);

    /// Only plain arrays, and what is the same each time: strings, integers, truth values and None?
    [[nodiscard]] bool are_plain() const { return are_plain_; }

private:
    friend class RepeatedCalls;
    /// More than any function has.
    static constexpr std::size_t most = 16;
    struct Argument {
        PyObject* object;
        /// The first argument that is this object.
        std::size_t first;
        bool is_array;
        PlainArray array;
    };
    [[nodiscard]] std::span<const Argument> all() const { return {arguments_.data(), count_}; }
    [[nodiscard]] std::size_t hash() const;

    PyObject* function_;
    PyObject* names_;
    std::size_t positional_;
    std::size_t count_ = 0;
    bool are_plain_ = false;
    std::array<Argument, most> arguments_;
};

/// Calls that a program has made with plain arrays. When it passes the same objects again, but for
/// the arrays, and arrays of the same type and length, nothing has to be worked out or checked
/// again: that takes longer than all the rest of a short call. Under the interpreter lock.
class RepeatedCalls {
public:
    /// A call that is known, with its arrays. The objects are those that were given, or None.
    struct Known {
        std::shared_ptr<const PreparedCall> call;
        PyObject* input;
        PyObject* output;
        PyObject* result;
        const void* from;
        void* to;
    };

    /// Nothing for a call that is not known.
    [[nodiscard]] std::optional<Known> find(const GivenArguments& given) const;
    /// What was done for these arguments is to be done for any like them. Unless there is more to
    /// it than can be told from them. May forget another one for it.
    void remember(const GivenArguments& given, const Known& done);

private:
    struct Argument {
        /// Of an array its type, which must stay: other arrays refer to it.
        pybind11::object object;
        std::size_t first;
        bool is_array;
        PlainArray array;
    };
    /// Which argument an object is; nothing: None.
    using Which = std::optional<std::size_t>;
    struct Call {
        pybind11::object function;
        std::size_t positional = 0;
        pybind11::object names;
        std::vector<Argument> arguments;
        Which input;
        Which output;
        Which result;
        std::shared_ptr<const PreparedCall> prepared;
    };
    [[nodiscard]] static bool is_like(const Call& call, const GivenArguments& given);

    /// A program makes a few again and again: one for each bucket of gradients.
    std::array<Call, 64> calls_;
};

}  // namespace pycoll
