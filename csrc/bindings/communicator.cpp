#include <mpi.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "bindings/arguments.hpp"
#include "bindings/array_view.hpp"
#include "bindings/collective_call.hpp"
#include "bindings/module.hpp"
#include "device/host/reduce.hpp"
#include "engine/communicator.hpp"
#include "engine/progress.hpp"
#include "transport/mpi.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

using SharedCommunicator = std::shared_ptr<Communicator>;
using Counts = std::optional<std::vector<std::uint64_t>>;

/// Lets other Python threads run, unless MPI cannot stand two threads: then the interpreter lock
/// keeps them apart.
class Unlocked {
public:
    explicit Unlocked(const Communicator& communicator) {
        if (communicator.any_thread()) release_.emplace();
    }

private:
    std::optional<py::gil_scoped_release> release_;
};

/// A Work as Python sees it.
struct BoundWork {
    SharedCommunicator communicator;
    Work work;

    bool test() {
        const Unlocked unlocked(*communicator);
        return work.test();
    }

    void wait(py::handle timeout) {
        const auto limit =
            naming(communicator->rank(), "wait", [&] { return timeout_argument(timeout); });
        const Unlocked unlocked(*communicator);
        work.wait(limit);
    }
};

void require_open(const Communicator& communicator, const std::string& function) {
    if (!communicator.closed()) return;
    throw CollectiveError("rank " + std::to_string(communicator.rank()) + ": " + function +
                          ": this communicator is closed; make a new one");
}

std::optional<BoundWork> call(const SharedCommunicator& communicator, Collective collective,
                              CollectiveArguments arguments, bool async_op) {
    const int rank = communicator->rank();
    const std::string function = std::string(name(collective)) + (arguments.counts ? "_v" : "");
    require_open(*communicator, function);
    return naming(rank, function, [&]() -> std::optional<BoundWork> {
        const auto arrays = shared_arrays();
        const Call call =
            collective_call(collective, rank, communicator->size(), std::move(arguments), *arrays);
        const Unlocked unlocked(*communicator);
        if (async_op) return BoundWork{communicator, communicator->start(call, arrays)};
        communicator->run(call, arrays);
        return std::nullopt;
    });
}

int other_rank(const Communicator& communicator, py::handle value, const char* argument) {
    const auto peer = integer_argument(value, argument, 0, communicator.size() - 1);
    if (peer == communicator.rank()) {
        throw py::value_error("'" + std::string(argument) + "' is " + std::to_string(peer) +
                              ", this rank itself; pass another one");
    }
    return static_cast<int>(peer);
}

int user_tag(const Communicator& communicator, py::handle value) {
    return static_cast<int>(integer_argument(value, "tag", 0, communicator.user_tags() - 1));
}

BoundWork send(const SharedCommunicator& communicator, py::handle array, py::handle dst,
               py::handle tag) {
    require_open(*communicator, "send");
    return naming(communicator->rank(), "send", [&] {
        const int peer = other_rank(*communicator, dst, "dst");
        const int number = user_tag(*communicator, tag);
        const auto arrays = shared_arrays();
        arrays->input = view_array(array, "array");
        const Unlocked unlocked(*communicator);
        return BoundWork{communicator,
                         communicator->send(arrays->input.bytes(), peer, number, arrays)};
    });
}

BoundWork recv(const SharedCommunicator& communicator, py::handle array, py::handle src,
               py::handle tag) {
    require_open(*communicator, "recv");
    return naming(communicator->rank(), "recv", [&] {
        const int peer = other_rank(*communicator, src, "src");
        const int number = user_tag(*communicator, tag);
        const auto arrays = shared_arrays();
        arrays->output = view_array(array, "array");
        if (!arrays->output.writable) {
            throw py::value_error("'array' is read-only; pass a writable array");
        }
        const Unlocked unlocked(*communicator);
        return BoundWork{communicator,
                         communicator->recv(arrays->output.bytes(), peer, number, arrays)};
    });
}

template <typename Error>
py::object bind_error(py::module_& m, const char* name, py::handle base) {
    py::object error = py::register_local_exception<Error>(m, name, base);
    error.attr("__module__") = "pycoll";  // where users find it
    return error;
}

}  // namespace

void bind_communicator(py::module_& m) {
    // The last one registered is tried first: it must be the more special one.
    const py::object collective_error =
        bind_error<CollectiveError>(m, "CollectiveError", PyExc_RuntimeError);
    bind_error<TimeoutError>(m, "TimeoutError",
                             py::make_tuple(collective_error, py::handle(PyExc_TimeoutError)));

    py::class_<BoundWork>(m, "Work")
        .def("test", &BoundWork::test)
        .def("wait", &BoundWork::wait, py::arg("timeout") = py::none());

    py::class_<Communicator, SharedCommunicator>(m, "Communicator")
        .def(py::init([](int fortran_handle, double timeout, bool oversubscribed,
                         const CostModel& model, std::size_t message_bytes) {
                 // A wrong PYCOLL_ISA is refused here, not in the middle of the first fold.
                 static_cast<void>(host::instruction_set());
                 Communicator::Options options;
                 options.timeout = nanoseconds(timeout);
                 options.oversubscribed = oversubscribed;
                 options.model = model;
                 return std::make_shared<Communicator>(
                     std::make_unique<MpiTransport>(MPI_Comm_f2c(fortran_handle), message_bytes),
                     options);
             }),
             py::arg("fortran_handle"), py::kw_only(), py::arg("timeout"),
             py::arg("oversubscribed"), py::arg("model"),
             py::arg("message_bytes") = MpiTransport::max_message_bytes)
        .def_property_readonly("rank", &Communicator::rank)
        .def_property_readonly("size", &Communicator::size)
        .def_property_readonly("transport", &Communicator::transport_name)
        .def_property_readonly("user_tags", &Communicator::user_tags)
        .def_property_readonly("closed", &Communicator::closed)
        .def("require_open", &require_open, py::arg("function"))
        .def(
            "call",
            [](const SharedCommunicator& self, std::string_view collective, py::handle input,
               py::handle output, py::handle op, int root, Counts counts, Counts recv_counts,
               py::handle algorithm, py::handle chunk_bytes, bool async_op) {
                const auto parsed = parse_collective(collective);
                if (!parsed) {
                    throw py::value_error("unknown collective '" + std::string(collective) + "'");
                }
                return call(self, *parsed,
                            {input, output, op, root, std::move(counts), std::move(recv_counts),
                             algorithm, chunk_bytes},
                            async_op);
            },
            py::arg("collective"), py::arg("input"), py::arg("output"), py::arg("op") = "sum",
            py::arg("root") = 0, py::arg("counts") = py::none(),
            py::arg("recv_counts") = py::none(), py::arg("algorithm") = "auto",
            py::arg("chunk_bytes") = 0, py::arg("async_op") = false)
        .def("send", &send)
        .def("recv", &recv)
        .def(
            "chosen",
            [](Communicator& self, std::string_view collective, std::uint64_t count,
               std::string_view dtype, int root, std::string algorithm, std::uint64_t chunk_bytes) {
                Call call;
                // Defined for every type; the choice does not depend on it.
                call.op = ReduceOp::max;
                call.algorithm = std::move(algorithm);
                call.chunk_bytes = chunk_bytes;
                const auto kind = parse_collective(collective);
                const auto type = parse_dtype(dtype);
                if (!kind || !type) throw py::value_error("unknown collective or dtype");
                call.collective = *kind;
                call.dtype = *type;
                call.count = count;
                call.root = root;
                return self.chosen(call);
            },
            py::arg("collective"), py::arg("count"), py::arg("dtype"), py::arg("root") = 0,
            py::arg("algorithm") = "auto", py::arg("chunk_bytes") = 0)
        .def("close", [](Communicator& self) {
            const Unlocked unlocked(self);
            self.close();
        });

    m.def("stop_progress", &stop_progress, py::call_guard<py::gil_scoped_release>());
    m.def("dtype_of",
          [](py::handle array) { return std::string(name(view_array(array, "array").dtype)); });
}

}  // namespace pycoll
