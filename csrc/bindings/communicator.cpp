#include <mpi.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arguments.hpp"
#include "bindings/array_view.hpp"
#include "bindings/bound_work.hpp"
#include "bindings/call_function.hpp"
#include "bindings/collective_call.hpp"
#include "bindings/module.hpp"
#include "bindings/placement.hpp"
#include "bindings/shared_memory.hpp"
#include "bindings/stream_argument.hpp"
#include "device/host/reduce.hpp"
#include "engine/communicator.hpp"
#include "engine/progress.hpp"
#include "transport/mpi.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

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
               py::handle tag, py::handle stream) {
    require_open(*communicator, "send");
    return naming(communicator->rank(), "send", [&] {
        const int peer = other_rank(*communicator, dst, "dst");
        const int number = user_tag(*communicator, tag);
        const auto arrays = shared_arrays();
        const auto named = stream_argument(stream);
        arrays->input = view_array(array, "array", named);
        const auto gpu = place_of({{"array", arrays->input}}, named, *communicator);
        const Unlocked unlocked(*communicator);
        return BoundWork{communicator, ordinal_of(gpu),
                         communicator->send(arrays->input.bytes(), peer, number, arrays, gpu)};
    });
}

BoundWork recv(const SharedCommunicator& communicator, py::handle array, py::handle src,
               py::handle tag, py::handle stream) {
    require_open(*communicator, "recv");
    return naming(communicator->rank(), "recv", [&] {
        const int peer = other_rank(*communicator, src, "src");
        const int number = user_tag(*communicator, tag);
        const auto arrays = shared_arrays();
        const auto named = stream_argument(stream);
        arrays->output = view_array(array, "array", named);
        if (!arrays->output.writable) {
            throw py::value_error("'array' is read-only; pass a writable array");
        }
        const auto gpu = place_of({{"array", arrays->output}}, named, *communicator);
        const Unlocked unlocked(*communicator);
        return BoundWork{communicator, ordinal_of(gpu),
                         communicator->recv(arrays->output.bytes(), peer, number, arrays, gpu)};
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
    // Of operations under way, and of what is refused before they begin.
    static py::handle cuda_error;
    cuda_error = bind_error<GpuError>(m, "CudaError", collective_error).release();
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const cuda::CudaError& error) {
            py::set_error(cuda_error, error.what());
        }
    });
    bind_error<TimeoutError>(m, "TimeoutError",
                             py::make_tuple(collective_error, py::handle(PyExc_TimeoutError)));

    py::class_<BoundWork>(m, "Work")
        .def("test", &BoundWork::test)
        .def("wait", &BoundWork::wait, py::arg("timeout") = py::none())
        .def("order", &BoundWork::order, py::arg("stream"));

    py::class_<Communicator, SharedCommunicator>(m, "Communicator")
        .def(py::init([](int fortran_handle, double timeout, bool oversubscribed,
                         const CostModel& model, std::size_t message_bytes,
                         const std::shared_ptr<Segment>& segment, const std::vector<int>& ranks,
                         std::vector<pid_t> processes, std::vector<int> nodes,
                         const std::map<std::string, std::string>& wishes, bool checks_calls,
                         bool copies_across, bool shares_gpus) {
                 // A wrong PYCOLL_ISA is refused here, not in the middle of the first fold.
                 static_cast<void>(host::instruction_set());
                 Communicator::Options options;
                 options.timeout = nanoseconds(timeout);
                 options.oversubscribed = oversubscribed;
                 options.model = model;
                 options.nodes = std::move(nodes);
                 options.checks_calls = checks_calls;
                 options.copies_across = copies_across;
                 options.shares_gpus = shares_gpus;
                 for (const auto& [collective, algorithm] : wishes) {
                     const auto parsed = parse_collective(collective);
                     if (!parsed) throw py::value_error("unknown collective '" + collective + "'");
                     options.wishes[static_cast<std::size_t>(*parsed)] =
                         find_algorithm(*parsed, algorithm).name;
                 }
                 auto transport =
                     std::make_unique<MpiTransport>(MPI_Comm_f2c(fortran_handle), message_bytes);
                 std::unique_ptr<Neighbours> node;
                 if (segment) {
                     node = neighbours(segment, ranks, std::move(processes), transport->rank(),
                                       transport->size());
                 }
                 return std::make_shared<Communicator>(std::move(transport), options,
                                                       std::move(node));
             }),
             py::arg("fortran_handle"), py::kw_only(), py::arg("timeout"),
             py::arg("oversubscribed"), py::arg("model"),
             py::arg("message_bytes") = MpiTransport::max_message_bytes,
             py::arg("segment") = std::shared_ptr<Segment>(), py::arg("ranks") = std::vector<int>(),
             py::arg("processes") = std::vector<pid_t>(), py::arg("nodes") = std::vector<int>(),
             py::arg("wishes") = std::map<std::string, std::string>(),
             py::arg("checks_calls") = false, py::arg("copies_across") = false,
             py::arg("shares_gpus") = true)
        .def_property_readonly("rank", &Communicator::rank)
        .def_property_readonly("size", &Communicator::size)
        .def_property_readonly("transport", &Communicator::transport_name)
        .def_property_readonly("user_tags", &Communicator::user_tags)
        .def_property_readonly("gpu", &Communicator::gpu)
        .def_property_readonly("closed", &Communicator::closed)
        .def_property_readonly("sent_bytes", &Communicator::sent_bytes)
        .def("require_open", &require_open, py::arg("function"))
        .def("calls", &call_function, py::arg("work_type"))
        .def("send", &send)
        .def("recv", &recv)
        .def(
            "chosen",
            [](Communicator& self, std::string_view collective, std::uint64_t count,
               std::string_view dtype, int root, std::string algorithm, std::uint64_t chunk_bytes,
               bool registered) {
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
                return self.chosen(call, registered);
            },
            py::arg("collective"), py::arg("count"), py::arg("dtype"), py::arg("root") = 0,
            py::arg("algorithm") = "auto", py::arg("chunk_bytes") = 0,
            py::arg("registered") = false)
        .def("close", [](Communicator& self) {
            const Unlocked unlocked(self);
            self.close();
        });

    m.def(
        "wait_some",
        [](const std::vector<BoundWork>& bound, py::handle timeout) {
            if (bound.empty()) throw py::value_error("'works' is empty; pass at least one");
            const Communicator& communicator = *bound.front().communicator;
            return naming(communicator.rank(), "wait_some", [&] {
                const auto limit = timeout_argument(timeout);
                std::vector<Work> works;
                works.reserve(bound.size());
                for (const BoundWork& one : bound) works.push_back(one.work);
                const Unlocked unlocked(communicator);
                return wait_some(works, limit);
            });
        },
        py::arg("works"), py::arg("timeout"));
    m.def("stop_progress", &stop_progress, py::call_guard<py::gil_scoped_release>());
    m.def("dtype_of", [](py::handle array) {
        return std::string(name(view_host_array(array, "array").dtype));
    });
}

}  // namespace pycoll
