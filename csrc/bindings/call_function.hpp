#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <optional>

#include "bindings/bound_work.hpp"
#include "bindings/repeated_calls.hpp"

namespace pycoll {

/// Makes the collective calls of a communicator, which it keeps, for a function of Python:
/// (collective, array, out, result, *, op="sum", root=0, counts=None, recv_counts=None,
/// algorithm="auto", chunk_bytes=0, async_op=False, stream=None, new_out=False), where new_out says
/// that `out` was made for this call. It returns `result`; if async_op, a `work_type` of a Work and
/// of that.
///
/// It speaks Python's own calling convention (vectorcall): pybind11 takes 0.7 us to convert so many
/// arguments, more than all the rest of a short call.
class CallFunction {
public:
    CallFunction(SharedCommunicator communicator, pybind11::object work_type);

    /// Throws what the call does, and pybind11::type_error for other arguments.
    [[nodiscard]] pybind11::object operator()(PyObject* const* given, std::size_t positional,
                                              PyObject* names);

    /// The call that is known to be made for these arguments, if there is one: its result.
    [[nodiscard]] std::optional<pybind11::object> repeat(const GivenArguments& given);
    /// Has repeat() do from now on what was done().
    void remember(const GivenArguments& given, const RepeatedCalls::Known& done) {
        calls_.remember(given, done);
    }

    /// What the calls are that a thread makes while this lives. One in another goes first.
    class Recording {
    public:
        Recording();
        ~Recording();
        Recording(const Recording&) = delete;
        Recording& operator=(const Recording&) = delete;

        /// The only call, if it was one by this function that can be remembered.
        [[nodiscard]] const RepeatedCalls::Known* only_one_of(const CallFunction& function) const {
            return count_ == 1 && function_ == &function && done_ ? &*done_ : nullptr;
        }

    private:
        friend class CallFunction;
        Recording* outer_;
        int count_ = 0;
        const CallFunction* function_ = nullptr;
        std::optional<RepeatedCalls::Known> done_;
    };

private:
    /// Runs the call that is known for these arguments; nothing if there is none.
    [[nodiscard]] std::optional<RepeatedCalls::Known> run_known(const GivenArguments& given);
    void record(const RepeatedCalls::Known& done) const;

    SharedCommunicator communicator_;
    pybind11::object work_type_;
    RepeatedCalls calls_;
};

[[nodiscard]] pybind11::object call_function(const SharedCommunicator& communicator,
                                             pybind11::object work_type);

/// What is behind an object that call_function() returned; null for any other one.
[[nodiscard]] CallFunction* call_function_of(PyObject* object);

}  // namespace pycoll
