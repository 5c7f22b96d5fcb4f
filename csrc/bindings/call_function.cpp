#include "bindings/call_function.hpp"

#include <pybind11/stl.h>
#include <structmember.h>

#include <cstddef>
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
        // All of an interpreter are in one list; the functions that walk it are three calls into
        // Python.
        const PyThreadState* const own = PyThreadState_Get();
        return own->prev != nullptr || own->next != nullptr;
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
        communicator.run(known.call, known.from, known.to, caller);
    } catch (...) {
        caller.take_back();
        if (caller.has_begun) keep();
        throw;
    }
}

/// Those under way in this thread: the innermost.
thread_local CallFunction::Recording* recording = nullptr;

/// As Python lays it out.
struct CallObject {
    PyObject_HEAD;
    vectorcallfunc call;
    CallFunction* function;
};

CallFunction*& function_of(PyObject* object) {
    return reinterpret_cast<CallObject*>(object)->function;
}

PyObject* call(PyObject* self, PyObject* const* given, std::size_t flags, PyObject* names) {
    try {
        const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flags));
        return (*function_of(self))(given, count, names).release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (...) {
        py::detail::try_translate_exceptions();
    }
    return nullptr;
}

void destroy(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    const std::unique_ptr<CallFunction> last(function_of(self));
    type->tp_free(self);
    Py_DECREF(type);
}

PyTypeObject* make_type() {
    static PyMemberDef members[] = {
        {"__vectorcalloffset__", T_PYSSIZET, offsetof(CallObject, call), READONLY, nullptr},
        {nullptr, 0, 0, 0, nullptr}};
    PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(&PyVectorcall_Call)},
                           {Py_tp_dealloc, reinterpret_cast<void*>(&destroy)},
                           {Py_tp_members, members},
                           {0, nullptr}};
    PyType_Spec spec = {
        "pycoll._core.CallFunction", sizeof(CallObject), 0,
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyObject* const type = PyType_FromSpec(&spec);
    if (type == nullptr) throw py::error_already_set();
    return reinterpret_cast<PyTypeObject*>(type);
}

/// Null until there is a communicator.
PyTypeObject* call_type = nullptr;

}  // namespace

CallFunction::CallFunction(SharedCommunicator communicator, py::object work_type)
    : communicator_(std::move(communicator)), work_type_(std::move(work_type)) {}

CallFunction::Recording::Recording() : outer_(std::exchange(recording, this)) {}

CallFunction::Recording::~Recording() { recording = outer_; }

void CallFunction::record(const RepeatedCalls::Known& done) const {
    if (recording == nullptr) return;
    recording->function_ = this;
    recording->done_ = done;
}

std::optional<RepeatedCalls::Known> CallFunction::run_known(const GivenArguments& given) {
    if (!given.are_plain() || communicator_->closed()) return std::nullopt;
    auto known = calls_.find(given);
    // The caller has the arrays as long as the call takes.
    if (known) {
        run(*communicator_, *known, [&] {
            Py_INCREF(known->input);
            Py_INCREF(known->output);
        });
    }
    return known;
}

std::optional<py::object> CallFunction::repeat(const GivenArguments& given) {
    const auto done = run_known(given);
    if (!done) return std::nullopt;
    return py::reinterpret_borrow<py::object>(done->result);
}

py::object CallFunction::operator()(PyObject* const* objects, std::size_t positional,
                                    PyObject* names) {
    if (recording != nullptr) ++recording->count_;
    const GivenArguments all(nullptr, objects, positional, names);
    if (const auto done = run_known(all)) {
        record(*done);
        return py::reinterpret_borrow<py::object>(done->result);
    }
    const CallArguments arguments(objects, positional, names);
    const auto argument = [&](Argument which) { return py::handle(arguments[which]); };
    const bool async_op = arguments.is_true(Argument::async_op);
    const auto result = py::reinterpret_borrow<py::object>(arguments[Argument::result]);
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
    require_open(*communicator_, function);
    return naming(communicator_->rank(), function, [&]() -> py::object {
        const auto arrays = shared_arrays();
        const Call call = collective_call(collective, *communicator_, std::move(given), *arrays);
        if (async_op) {
            return work_type_(BoundWork{communicator_, ordinal_of(call.gpu),
                                        [&] {
                                            const Unlocked unlocked(*communicator_);
                                            return communicator_->start(call, arrays);
                                        }()},
                              result);
        }
        if (call.gpu) {
            const Unlocked unlocked(*communicator_);
            communicator_->run(call, arrays);
            return result;
        }
        const RepeatedCalls::Known made{.call = prepare(*communicator_, call),
                                        .input = arguments[Argument::array],
                                        .output = arguments[Argument::out],
                                        .result = result.ptr(),
                                        .from = call.input,
                                        .to = call.output};
        run(*communicator_, made, [&] {
            static_cast<void>(std::make_unique<std::shared_ptr<Arrays>>(arrays).release());
        });
        const bool has_more = !arguments.omits(Argument::counts) ||
                              !arguments.omits(Argument::recv_counts) ||
                              !arguments.omits(Argument::stream);
        if (all.are_plain() && !has_more) {
            remember(all, made);
            record(made);
        }
        return result;
    });
}

py::object call_function(const SharedCommunicator& communicator, py::object work_type) {
    if (call_type == nullptr) call_type = make_type();
    auto kept = std::make_unique<CallFunction>(communicator, std::move(work_type));
    auto made = py::reinterpret_steal<py::object>(call_type->tp_alloc(call_type, 0));
    if (!made) throw py::error_already_set();
    reinterpret_cast<CallObject*>(made.ptr())->call = &call;
    function_of(made.ptr()) = kept.release();
    return made;
}

CallFunction* call_function_of(PyObject* object) {
    return Py_TYPE(object) == call_type ? function_of(object) : nullptr;
}

}  // namespace pycoll
