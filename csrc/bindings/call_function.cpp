#include "bindings/call_function.hpp"

#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/collective_call.hpp"
#include "bindings/placement.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

enum Argument : std::size_t {
    collective_argument,
    input_argument,
    output_argument,
    op_argument,
    root_argument,
    counts_argument,
    recv_counts_argument,
    algorithm_argument,
    chunk_bytes_argument,
    async_argument,
    stream_argument_,
    new_output_argument,
    argument_count,
};

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

py::object run(const SharedCommunicator& communicator, Collective collective,
               CollectiveArguments arguments, bool async_op) {
    const int rank = communicator->rank();
    const std::string function = std::string(name(collective)) + (arguments.counts ? "_v" : "");
    require_open(*communicator, function);
    return naming(rank, function, [&]() -> py::object {
        const auto arrays = shared_arrays();
        const Call call = collective_call(collective, *communicator, std::move(arguments), *arrays);
        if (async_op) {
            return py::cast(BoundWork{communicator, ordinal_of(call.gpu), [&] {
                                          const Unlocked unlocked(*communicator);
                                          return communicator->start(call, arrays);
                                      }()});
        }
        const Unlocked unlocked(*communicator);
        communicator->run(call, arrays);
        return {};
    });
}

constexpr const char* capsule_name = "pycoll.communicator";

PyObject* call(PyObject* self, PyObject* const* arguments, Py_ssize_t given) {
    try {
        if (given != static_cast<Py_ssize_t>(argument_count)) {
            throw py::type_error("call takes " + std::to_string(argument_count) + " arguments");
        }
        const auto argument = [&](Argument which) { return py::handle(arguments[which]); };
        const auto* const communicator =
            static_cast<const SharedCommunicator*>(PyCapsule_GetPointer(self, capsule_name));
        const py::object work =
            run(*communicator, collective_named(argument(collective_argument)),
                {argument(input_argument), argument(output_argument), argument(op_argument),
                 py::cast<int>(argument(root_argument)), counts(argument(counts_argument)),
                 counts(argument(recv_counts_argument)), argument(algorithm_argument),
                 argument(chunk_bytes_argument), argument(stream_argument_),
                 arguments[new_output_argument] == Py_True},
                arguments[async_argument] == Py_True);
        return work ? py::object(work).release().ptr() : py::none().release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (...) {
        py::detail::try_translate_exceptions();
    }
    return nullptr;
}

}  // namespace

py::object call_function(const SharedCommunicator& communicator) {
    // Functions refer to their definition as long as they live.
    static PyMethodDef definition = {
        "call", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&call)), METH_FASTCALL,
        nullptr};
    auto kept = std::make_unique<SharedCommunicator>(communicator);
    const py::capsule self(kept.get(), capsule_name, [](void* released) {
        const std::unique_ptr<SharedCommunicator> last(static_cast<SharedCommunicator*>(released));
    });
    static_cast<void>(kept.release());
    return py::reinterpret_steal<py::object>(PyCFunction_New(&definition, self.ptr()));
}

}  // namespace pycoll
