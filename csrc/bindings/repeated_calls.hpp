#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "bindings/call_arguments.hpp"
#include "engine/prepared_call.hpp"

namespace pycoll {

/// The memory of a NumPy array as such: of no subclass, in C order.
struct PlainArray {
    void* data = nullptr;
    /// NumPy has one for each data type, and arrays of it refer to that.
    PyObject* dtype = nullptr;
    std::uint64_t count = 0;
    bool writable = false;

    /// Nothing for any other object.
    [[nodiscard]] static std::optional<PlainArray> of(PyObject* object);
    [[nodiscard]] bool is_like(const PlainArray& other) const {
        return dtype == other.dtype && count == other.count && writable == other.writable;
    }
};

/// Calls that a program has made with plain arrays. When it passes the same objects again, but for
/// the arrays, and arrays of the same type and length, nothing has to be worked out or checked
/// again: that takes longer than all the rest of a short call. Under the interpreter lock.
class RepeatedCalls {
public:
    /// The arrays of a call. To be taken before it is made: threads may change them meanwhile.
    struct Arrays {
        std::optional<PlainArray> input;
        std::optional<PlainArray> output;
    };
    /// Nothing for calls that are not to be remembered.
    [[nodiscard]] static std::optional<Arrays> arrays_of(const CallArguments& arguments);

    /// A call that is known, with its arrays.
    struct Known {
        std::shared_ptr<const PreparedCall> call;
        const void* input;
        void* output;
    };

    /// Nothing for a call that is not known.
    [[nodiscard]] std::optional<Known> find(const CallArguments& arguments,
                                            const Arrays& arrays) const;
    /// May forget another one for it.
    void remember(const CallArguments& arguments, const Arrays& arrays,
                  std::shared_ptr<const PreparedCall> call);

private:
    /// What is the same each time: strings and integers. The others must be None.
    static constexpr std::array fixed = {Argument::collective, Argument::op, Argument::root,
                                         Argument::algorithm, Argument::chunk_bytes};
    struct Call {
        std::array<pybind11::object, fixed.size()> objects;
        /// Keeps those that the arrays name.
        std::array<pybind11::object, 2> dtypes;
        Arrays arrays;
        std::shared_ptr<const PreparedCall> prepared;
    };
    /// Where a call is, if it is known.
    [[nodiscard]] static std::size_t place_of(const CallArguments& arguments, const Arrays& arrays);

    /// A program makes a few again and again: one for each bucket of gradients.
    std::array<Call, 64> calls_;
};

}  // namespace pycoll
