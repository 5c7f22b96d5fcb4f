#include <pybind11/operators.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "algorithms/algorithms.hpp"
#include "bindings/array_view.hpp"
#include "bindings/module.hpp"
#include "core/dtype.hpp"
#include "core/reduction.hpp"
#include "device/host/reduce.hpp"
#include "engine/choose.hpp"
#include "schedule/price.hpp"
#include "schedule/print.hpp"
#include "schedule/verify.hpp"

namespace py = pybind11;

namespace pycoll {
namespace {

using Unlocked = py::call_guard<py::gil_scoped_release>;

constexpr std::array<const char*, buffer_count> buffer_names = {"input", "output", "scratch",
                                                                "stage"};
constexpr std::array<const char*, 8> step_kind_names = {
    "send", "recv", "recv_reduce", "copy", "reduce", "signal", "wait", "expect"};
constexpr std::array<std::string_view, 4> reach_names = {"messages", "stages", "arrays", "mapped"};

template <std::size_t size>
std::string listed(const std::array<std::string_view, size>& names) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) {
        if (i > 0) text += i + 1 < size ? ", " : " or ";
        text += names[i];
    }
    return text;
}

Reach parse_reach(std::string_view text) {
    for (std::size_t i = 0; i < reach_names.size(); ++i) {
        if (reach_names[i] == text) return static_cast<Reach>(i);
    }
    throw py::value_error("'reach' is '" + std::string(text) + "'; it must be " +
                          listed(reach_names));
}

Collective collective_named(std::string_view text) {
    if (const auto collective = parse_collective(text)) return *collective;
    throw py::value_error("'collective' is '" + std::string(text) + "'; it must be " +
                          listed(collective_names));
}

/// The kernels alone, to measure them.
void bind_kernels(py::module_& m) {
    m.def(
        "fold",
        [](py::handle out, py::handle left, py::handle right, std::string_view op) {
            const ArrayView to = view_host_array(out, "out");
            const ArrayView a = view_host_array(left, "left");
            const ArrayView b = view_host_array(right, "right");
            const auto parsed = parse_reduce_op(op);
            if (!parsed || !supports(*parsed, to.dtype)) {
                throw py::value_error("'op' is '" + std::string(op) + "'; it must be one that " +
                                      std::string(name(to.dtype)) + " has");
            }
            if (!to.writable) throw py::value_error("'out' is read-only; pass a writable array");
            if (a.dtype != to.dtype || b.dtype != to.dtype || a.count != to.count ||
                b.count != to.count) {
                throw py::value_error("'out', 'left' and 'right' differ in length or dtype");
            }
            const py::gil_scoped_release unlocked;
            host::reduce(to.dtype, *parsed, to.data, a.data, b.data, to.count);
        },
        py::arg("out"), py::arg("left"), py::arg("right"), py::arg("op") = "sum");
    m.def(
        "copy",
        [](py::handle out, py::handle source, bool past_caches) {
            const ArrayView to = view_host_array(out, "out");
            const ArrayView from = view_host_array(source, "source");
            if (!to.writable) throw py::value_error("'out' is read-only; pass a writable array");
            if (from.dtype != to.dtype || from.count != to.count) {
                throw py::value_error("'out' and 'source' differ in length or dtype");
            }
            const py::gil_scoped_release unlocked;
            (past_caches ? host::copy_past_caches : host::copy)(to.data, from.data,
                                                                to.bytes().size());
        },
        py::arg("out"), py::arg("source"), py::kw_only(), py::arg("past_caches") = false);
}

void bind_model(py::module_& m) {
    py::class_<Link>(m, "Link")
        .def(py::init([](double alpha, double beta) { return Link{alpha, beta}; }), py::kw_only(),
             py::arg("alpha") = 0.0, py::arg("beta") = 0.0)
        .def_readwrite("alpha", &Link::alpha)
        .def_readwrite("beta", &Link::beta)
        .def("__repr__", [](const Link& self) {
            return py::str("Link(alpha={!r}, beta={!r})").format(self.alpha, self.beta);
        });

    py::class_<CostModel>(m, "CostModel")
        .def(py::init([](const Link& intra_node, const Link& inter_node, double gamma, double copy,
                         double fetch, double signal, double wake, const Link& cma,
                         bool takes_lines_over, double cached, std::vector<int> nodes,
                         int cores_per_node) {
                 return CostModel{.intra_node = intra_node,
                                  .inter_node = inter_node,
                                  .gamma = gamma,
                                  .copy = copy,
                                  .fetch = fetch,
                                  .signal = signal,
                                  .wake = wake,
                                  .cma = cma,
                                  .takes_lines_over = takes_lines_over,
                                  .cached = cached,
                                  .nodes = std::move(nodes),
                                  .cores_per_node = cores_per_node};
             }),
             py::kw_only(), py::arg("intra_node") = Link{}, py::arg("inter_node") = Link{},
             py::arg("gamma") = 0.0, py::arg("copy") = 0.0, py::arg("fetch") = 0.0,
             py::arg("signal") = 0.0, py::arg("wake") = 0.0, py::arg("cma") = Link{},
             py::arg("takes_lines_over") = false, py::arg("cached") = 0.0,
             py::arg("nodes") = std::vector<int>(), py::arg("cores_per_node") = 0)
        .def_readwrite("intra_node", &CostModel::intra_node)
        .def_readwrite("inter_node", &CostModel::inter_node)
        .def_readwrite("gamma", &CostModel::gamma)
        .def_readwrite("copy", &CostModel::copy)
        .def_readwrite("fetch", &CostModel::fetch)
        .def_readwrite("signal", &CostModel::signal)
        .def_readwrite("wake", &CostModel::wake)
        .def_readwrite("cma", &CostModel::cma)
        .def_readwrite("takes_lines_over", &CostModel::takes_lines_over)
        .def_readwrite("cached", &CostModel::cached)
        .def_readwrite("nodes", &CostModel::nodes)
        .def_readwrite("cores_per_node", &CostModel::cores_per_node)
        .def(
            "within",
            [](const CostModel& self, std::string_view reach) {
                return within(self, parse_reach(reach));
            },
            py::arg("reach"))
        .def("__repr__", [](const CostModel& self) {
            return py::str(
                       "CostModel(intra_node={!r}, inter_node={!r}, gamma={!r}, copy={!r}, "
                       "fetch={!r}, signal={!r}, wake={!r}, cma={!r}, takes_lines_over={!r}, "
                       "cached={!r}, nodes={}, cores_per_node={})")
                .format(self.intra_node, self.inter_node, self.gamma, self.copy, self.fetch,
                        self.signal, self.wake, self.cma, self.takes_lines_over, self.cached,
                        self.nodes, self.cores_per_node);
        });
}

void bind_request(py::module_& m) {
    py::class_<Request>(m, "Request")
        .def(py::init([](std::string_view collective, int rank, int size, std::uint64_t count,
                         int root, std::uint64_t chunk, bool in_place, std::vector<int> nodes) {
                 Request request{.collective = collective_named(collective),
                                 .rank = rank,
                                 .size = size,
                                 .count = count,
                                 .root = root,
                                 .chunk = chunk,
                                 .in_place = in_place,
                                 .nodes = std::move(nodes)};
                 check(request);
                 return request;
             }),
             py::arg("collective"), py::kw_only(), py::arg("rank"), py::arg("size"),
             py::arg("count") = 0, py::arg("root") = 0, py::arg("chunk") = 0,
             py::arg("in_place") = false, py::arg("nodes") = std::vector<int>())
        .def_property_readonly("collective",
                               [](const Request& self) { return name(self.collective); })
        .def_readonly("rank", &Request::rank)
        .def_readonly("size", &Request::size)
        .def_readonly("count", &Request::count)
        .def_readonly("root", &Request::root)
        .def_readonly("chunk", &Request::chunk)
        .def_readonly("in_place", &Request::in_place)
        .def_readonly("nodes", &Request::nodes)
        .def_property_readonly("input_count", &Request::input_count)
        .def_property_readonly("output_count", &Request::output_count);
}

void bind_schedule_type(py::module_& m) {
    py::class_<Slice>(m, "Slice")
        .def_property_readonly(
            "buffer",
            [](const Slice& self) { return buffer_names[static_cast<std::size_t>(self.buffer)]; })
        .def_readonly("offset", &Slice::offset)
        .def_property_readonly("owner",
                               [](const Slice& self) -> std::optional<int> {
                                   if (self.owner == Slice::own) return std::nullopt;
                                   return self.owner;
                               })
        .def_readonly("count", &Slice::count)
        .def(py::self == py::self)
        .def("__repr__", [](const Slice& self) { return to_string(self); });

    py::class_<Step>(m, "Step")
        .def_property_readonly(
            "kind",
            [](const Step& self) { return step_kind_names[static_cast<std::size_t>(self.kind)]; })
        .def_property_readonly("peer",
                               [](const Step& self) -> std::optional<int> {
                                   if (self.peer < 0) return std::nullopt;
                                   return self.peer;
                               })
        .def_property_readonly("dst",
                               [](const Step& self) -> std::optional<Slice> {
                                   if (!writes(self.kind)) return std::nullopt;
                                   return self.dst;
                               })
        .def_readonly("srcs", &Step::srcs)
        .def_readonly("after", &Step::after)
        .def_readonly("finish", &Step::finish)
        .def_readonly("message_first", &Step::message_first)
        .def(py::self == py::self)
        .def("__repr__", [](const Step& self) { return to_string(self); });

    py::class_<Schedule>(m, "Schedule")
        .def_property_readonly("collective",
                               [](const Schedule& self) { return name(self.collective); })
        .def_readonly("rank", &Schedule::rank)
        .def_readonly("size", &Schedule::size)
        .def_readonly("input_count", &Schedule::input_count)
        .def_readonly("output_count", &Schedule::output_count)
        .def_readonly("scratch_count", &Schedule::scratch_count)
        .def_readonly("stage_count", &Schedule::stage_count)
        .def_readonly("meets_first", &Schedule::meets_first)
        .def_readonly("runs_ahead", &Schedule::runs_ahead)
        .def_readonly("steps", &Schedule::steps)
        .def(py::self == py::self)
        .def("__str__", [](const Schedule& self) { return to_string(self); })
        .def("__repr__", [](const Schedule& self) {
            return py::str("<Schedule of {}, rank {} of {}, {} steps>")
                .format(name(self.collective), self.rank, self.size, self.steps.size());
        });

    py::class_<Price>(m, "Price")
        .def_readonly("seconds", &Price::seconds)
        .def_readonly("messages", &Price::messages)
        .def_readonly("bytes_sent", &Price::bytes_sent)
        .def_readonly("bytes_folded", &Price::bytes_folded)
        .def_readonly("total_bytes", &Price::total_bytes)
        .def_property_readonly("timeline", [](const Price& self) {
            std::vector<std::vector<std::pair<double, double>>> timeline;
            for (const auto& steps : self.timeline) {
                auto& intervals = timeline.emplace_back();
                for (const Interval& interval : steps) {
                    intervals.emplace_back(interval.start, interval.end);
                }
            }
            return timeline;
        });
}

void bind_algorithms(py::module_& m) {
    py::class_<Algorithm>(m, "Algorithm")
        .def_property_readonly("collective",
                               [](const Algorithm& self) { return name(self.collective); })
        .def_readonly("name", &Algorithm::name)
        .def_readonly("cost", &Algorithm::cost)
        .def_readonly("source", &Algorithm::source)
        .def_readonly("takes_counts", &Algorithm::takes_counts)
        .def_readonly("pipelined", &Algorithm::pipelined)
        .def_readonly("spans_nodes", &Algorithm::spans_nodes)
        .def_property_readonly(
            "reach",
            [](const Algorithm& self) { return reach_names[static_cast<std::size_t>(self.reach)]; })
        .def("__repr__", [](const Algorithm& self) {
            return py::str("<Algorithm {} for {}>").format(self.name, name(self.collective));
        });

    m.def("algorithms", [] {
        const auto all = algorithms();
        return std::vector<Algorithm>(all.begin(), all.end());
    });
    m.def(
        "build",
        [](std::string_view algorithm, const Request& request) {
            return find_algorithm(request.collective, algorithm).build(request);
        },
        py::arg("algorithm"), py::arg("request"), Unlocked());
    m.def(
        "choose",
        [](const Request& request, std::size_t element_size, const CostModel& model,
           std::string_view algorithm, std::uint64_t chunk_bytes, std::string_view reach,
           std::string_view wish) {
            const Choice choice = choose(request, element_size, model, algorithm, chunk_bytes,
                                         parse_reach(reach), wish);
            return std::pair(choice.algorithm->name, choice.chunk);
        },
        py::arg("request"), py::arg("element_size"), py::arg("model"),
        py::arg("algorithm") = "auto", py::arg("chunk_bytes") = 0, py::arg("reach") = "messages",
        py::arg("wish") = "", Unlocked());
    m.def(
        "candidates",
        [](const Request& request, std::size_t element_size, const CostModel& model,
           std::string_view reach) {
            std::vector<std::tuple<std::string_view, std::uint64_t, double>> all;
            for (const Candidate& candidate :
                 candidates(request, element_size, model, parse_reach(reach))) {
                all.emplace_back(candidate.choice.algorithm->name, candidate.choice.chunk,
                                 candidate.seconds);
            }
            return all;
        },
        py::arg("request"), py::arg("element_size"), py::arg("model"),
        py::arg("reach") = "messages", Unlocked());
}

}  // namespace

void bind_schedule(py::module_& m) {
    m.attr("COLLECTIVES") = py::cast(collective_names);
    m.attr("REDUCE_OPS") = py::cast(reduce_op_names);
    py::dict dtypes;
    for (std::size_t i = 0; i < dtype_names.size(); ++i) {
        dtypes[py::str(dtype_names[i])] = dtype_sizes[i];
    }
    m.attr("DTYPE_SIZES") = dtypes;
    m.def(
        "supports",
        [](std::string_view op, std::string_view dtype) {
            const auto parsed_op = parse_reduce_op(op);
            const auto parsed_dtype = parse_dtype(dtype);
            if (!parsed_op) throw py::value_error("'op' must be " + listed(reduce_op_names));
            if (!parsed_dtype) throw py::value_error("'dtype' must be " + listed(dtype_names));
            return supports(*parsed_op, *parsed_dtype);
        },
        py::arg("op"), py::arg("dtype"));
    m.def("instruction_set", &host::instruction_set);
    bind_kernels(m);

    bind_model(m);
    bind_request(m);
    bind_schedule_type(m);
    bind_algorithms(m);
    m.def(
        "verify",
        [](const std::vector<Request>& requests, const std::vector<Schedule>& schedules) {
            return verify(requests, schedules);
        },
        py::arg("requests"), py::arg("schedules"), Unlocked());
    m.def(
        "price",
        [](const std::vector<Schedule>& schedules, std::uint64_t element_size,
           const CostModel& model) { return price(schedules, element_size, model); },
        py::arg("schedules"), py::arg("element_size"), py::arg("model"), Unlocked());
}

}  // namespace pycoll
