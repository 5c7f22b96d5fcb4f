#include "bindings/call_function.hpp"

#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/call_arguments.hpp"
#include "bindings/collective_call.hpp"
#include "bindings/placement.hpp"
#include "bindings/repeated_calls.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

Collective collective_named(py::handle text) {
    Py_ssize_t length = 0;
    const char* const name = PyUnicode_AsUTF8AndSize(text.ptr(), &length);
    if (name == nullptr) throw py::error_already_set();
    const auto parsed = parse_collective({name, static_cast<std::size_t>(length)});
    if (!parsed) throw py::value_error("unknown collective '" + std::string(name) + "'");
    return *parsed;
}

std::optional<std::vector<std::uint64_t>> counts(py::handle sequence) {
    if (sequence.is_none()) return std::nullopt;
    return py::cast<std::vector<std::uint64_t>>(sequence);
}

/// Python's thread, which holds the interpreter lock until it has to let go.
class PythonCaller final : public Caller {
public:
    explicit PythonCaller(const Communicator& communicator) : communicator_(communicator) {
        if (has_other_threads()) let_go();
    }

    void let_go() override {
        if (!unlocked_) unlocked_.emplace(communicator_);
    }
    void take_back() { unlocked_.reset(); }

private:
    /// Has the program other threads that run Python code? They may want to at any time.
    static bool has_other_threads() {
        PyThreadState* const first = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
        return PyThreadState_Next(first) != nullptr;
    }

    const Communicator& communicator_;
    std::optional<Unlocked> unlocked_;
};

std::shared_ptr<const PreparedCall> prepare(Communicator& communicator, const Call& call) {
    const Unlocked unlocked(communicator);
    return communicator.prepare(call);
}

/// If the call fails when it has begun, its arrays must be kept for ever: `keep` does so.
template <typename Keep>
void run(Communicator& communicator, const RepeatedCalls::Known& known, Keep&& keep) {
    PythonCaller caller(communicator);
    try {
        communicator.run(known.call, known.input, known.output, caller);
    } catch (...) {
        caller.take_back();
        if (caller.has_begun) keep();
        throw;
    }
}

/// What a Python function keeps.
struct CallFunction {
    SharedCommunicator communicator;
    py::object work_type;
    RepeatedCalls calls;

    [[nodiscard]] py::object make(const CallArguments& arguments);
};

py::object CallFunction::make(const CallArguments& arguments) {
    const bool async_op = arguments.is_true(Argument::async_op);
    const auto result = py::reinterpret_borrow<py::object>(arguments[Argument::result]);
    const auto plain = async_op ? std::nullopt : RepeatedCalls::arrays_of(arguments);
    if (plain && !communicator->closed()) {
        if (const auto known = calls.find(arguments, *plain)) {
            run(*communicator, *known, [&] {
                Py_INCREF(arguments[Argument::array]);
                Py_INCREF(arguments[Argument::out]);
            });
            return result;
        }
    }
    const auto argument = [&](Argument which) { return py::handle(arguments[which]); };
    const Collective collective = collective_named(argument(Argument::collective));
    CollectiveArguments given{argument(Argument::array),
                              argument(Argument::out),
                              argument(Argument::op),
                              py::cast<int>(argument(Argument::root)),
                              counts(argument(Argument::counts)),
                              counts(argument(Argument::recv_counts)),
                              argument(Argument::algorithm),
                              argument(Argument::chunk_bytes),
                              argument(Argument::stream),
                              arguments.is_true(Argument::new_out)};
    const std::string function = std::string(name(collective)) + (given.counts ? "_v" : "");
    require_open(*communicator, function);
    return naming(communicator->rank(), function, [&]() -> py::object {
        const auto arrays = shared_arrays();
        const Call call = collective_call(collective, *communicator, std::move(given), *arrays);
        if (async_op) {
            return work_type(BoundWork{communicator, ordinal_of(call.gpu),
                                       [&] {
                                           const Unlocked unlocked(*communicator);
                                           return communicator->start(call, arrays);
                                       }()},
                             result);
        }
        if (call.gpu) {
            const Unlocked unlocked(*communicator);
            communicator->run(call, arrays);
        } else {
            const RepeatedCalls::Known made{prepare(*communicator, call), call.input, call.output};
            run(*communicator, made, [&] {
                static_cast<void>(std::make_unique<std::shared_ptr<Arrays>>(arrays).release());
            });
            if (plain) calls.remember(arguments, *plain, made.call);
        }
        return result;
    });
}

constexpr const char* capsule_name = "pycoll.communicator";

PyObject* call(PyObject* self, PyObject* const* given, Py_ssize_t count, PyObject* names) {
    try {
        auto* const function = static_cast<CallFunction*>(PyCapsule_GetPointer(self, capsule_name));
        return function->make(CallArguments(given, count, names)).release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (...) {
        py::detail::try_translate_exceptions();
    }
    return nullptr;
}

}  // namespace

py::object call_function(const SharedCommunicator& communicator, py::object work_type) {
    // Functions refer to their definition as long as they live.
    static PyMethodDef definition = {
        "call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call)),
        METH_FASTCALL | METH_KEYWORDS, nullptr};
    auto kept = std::make_unique<CallFunction>(communicator, std::move(work_type));
    const py::capsule self(kept.get(), capsule_name, [](void* released) {
        const std::unique_ptr<CallFunction> last(static_cast<CallFunction*>(released));
    });
    static_cast<void>(kept.release());
    return py::reinterpret_steal<py::object>(PyCFunction_New(&definition, self.ptr()));
}

}  // namespace pycoll
